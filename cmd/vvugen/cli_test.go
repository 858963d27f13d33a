package main

import (
	"fmt"
	"os"
	"os/signal"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/vvugen/loopbacktest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvugen":  main,
		"backend": backendMain,
	})
}

// backendMain is a back-end for scripts: backend MODE FAULT SOCKET…, where FAULT
// is what happens to every 1000th frame. It serves until it is interrupted.
func backendMain() {
	modes := map[string]loopbacktest.Mode{"forward": loopbacktest.Forward, "discard": loopbacktest.Discard, "source": loopbacktest.Source, "idle": loopbacktest.Idle}
	faults := map[string]loopbacktest.Action{"none": loopbacktest.Deliver, "drop": loopbacktest.Drop, "corrupt": loopbacktest.Corrupt, "duplicate": loopbacktest.Duplicate}
	mode, fault := modes[os.Args[1]], faults[os.Args[2]]
	b, err := loopbacktest.Start(loopbacktest.Config{
		Sockets: os.Args[3:], Features: loopbacktest.AllFeatures, Mode: mode,
		Tamper: func(n uint64) loopbacktest.Action {
			if n < 1<<63 && n%1000 == 999 { // not the probes
				return fault
			}
			return loopbacktest.Deliver
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	b.Close()
}

// TestCLI plays command lines and checks what they print and their exit codes.
func TestCLI(t *testing.T) { clitest.Play(t, "testdata", "", nil, nil) }
