package netfwd

import (
	"os"
	"runtime"
	"testing"
)

// TestMain has Go's scheduler run more at a time than there are loops in any test, as vvufwd does: a loop that sleeps for a moment keeps
// its place (await.Briefly).
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 8))
	os.Exit(m.Run())
}
