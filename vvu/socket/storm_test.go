package socket

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
)

var storms = flag.Int("storms", 10, "sessions of each hostile front-end of TestStorm")

// Two front-ends that keep to no order do everything that there is, at the same time, with
// memory, logs and tracking memory that vanish. No one waits for an answer in vain, no fault
// is ours, nothing is left of them, and good front-ends are served after them.
func TestStorm(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() { // after the rig's
		for n := 0; runtime.NumGoroutine() > before && n < 2000; n++ {
			time.Sleep(10 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before\n%s", n, before, stacks())
		}
	})
	var faults, steps atomic.Int64
	paths := balancedRigOf(t, 2, (stormRings-1)/2, zap.NewNop(), func(_ []netfwd.Port, err error) {
		faults.Add(1)
		var memory interface{ Addr() uintptr }
		if !errors.As(err, &memory) || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("a fault of ours: %v", err)
		}
	})
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	var attack sync.WaitGroup
	for i, path := range paths {
		attack.Go(func() {
			debug.SetPanicOnFault(true)
			s := &storm{t: t, rnd: rand.New(rand.NewPCG(seed, uint64(i))), path: path}
			for n := 0; n < *storms && !t.Failed(); n++ {
				for left := 20 + s.rnd.IntN(150); left > 0 && (s.conn != nil || s.connect()) && s.guardedStep(); left-- {
					steps.Add(1)
				}
				s.end()
			}
		})
	}
	attack.Wait()
	t.Log(steps.Load(), "steps,", faults.Load(), "faults")
	for n := 0; ; n++ {
		mapped, open := stormLeft(t)
		if mapped+open == 0 {
			break
		}
		if time.Sleep(10 * time.Millisecond); n > 2000 {
			t.Errorf("%d mappings and %d files are left", mapped, open)
			break
		}
	}
	a, b := startApp(t, paths[0]), startApp(t, paths[1])
	defer a.exit()
	defer b.exit()
	exchange(t, a, b, 3)
}

// stormLeft is how many pieces of memory and files of storms this process has.
func stormLeft(t *testing.T) (mapped, open int) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(target, "memfd:"+stormName) {
			open++
		}
	}
	return strings.Count(string(maps), "memfd:"+stormName), open
}

func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
