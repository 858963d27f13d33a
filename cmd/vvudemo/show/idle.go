package show

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/vm"
)

// Idle is what the machines cost while nothing happens, in per cent of one of the host's cores.
type Idle struct {
	Seconds float64 `json:"seconds"`
	Driver  float64 `json:"driver_vm_percent"` // its QEMU; 0 without a driver VM
	App     float64 `json:"app_vm_percent"`    // the first one's QEMU
	Vvudev  float64 `json:"vvudev_percent"`    // the first one's; 0 without vvudev
}

// idle shows what the machines cost while nothing happens. Vvufwd prints its statistics meanwhile.
func (d *demo) idle(ctx context.Context) (string, error) {
	d.progress.say("idle", "the machines are left alone for %v", d.Idle)
	watched := map[*vm.Process]*float64{}
	r := &Idle{}
	if d.driver != nil {
		watched[d.driver] = &r.Driver
	}
	watched[d.apps[0].process] = &r.App
	if d.apps[0].device != nil {
		watched[d.apps[0].device] = &r.Vvudev
	}
	before := map[*vm.Process]time.Duration{}
	begin := time.Now()
	for p := range watched {
		var err error
		if before[p], err = cpuTime(p.PID()); err != nil {
			return "", err
		}
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-time.After(d.Idle):
	}
	for p, percent := range watched {
		after, err := cpuTime(p.PID())
		if err != nil {
			return "", err
		}
		*percent = 100 * float64(after-before[p]) / float64(time.Since(begin))
	}
	r.Seconds = seconds(time.Since(begin))
	d.report.Idle = r
	return fmt.Sprintf("of a core: driver VM %.1f %%, app VM %.1f %%, vvudev %.2f %%", r.Driver, r.App, r.Vvudev), nil
}

// cpuTime is how long the threads of a process have run that it has now. None of these programs' end
// while the machines run.
func cpuTime(pid int) (sum time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("no CPU time of process %d: it has ended, or the kernel does not say (schedstat)", pid)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		word, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
