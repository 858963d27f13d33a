package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
)

// Limits of a whole test, and of what it waits for.
const (
	testLimit    = 20 * time.Minute
	bootLimit    = vm.BootLimit
	commandLimit = vm.CommandLimit
	stopLimit    = vm.StopLimit
)

// lab is where one test runs its programs.
type lab struct {
	*testing.T            // of the step that runs
	whole      *testing.T // lives longer than its steps
	ctx        context.Context
	tools      *tools.Tools
	build      string // the source tree's build directory
	out        string // directory of logs and images, below build
	run        string // directory of sockets, whose paths must be short
}

// newLab makes the lab of a test, which runs beside others: a machine that boots keeps a processor busy, later ones wait.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	source := tools.SourceDir()
	if source == "" {
		t.Fatal("the test does not run in the source tree")
	}
	build := filepath.Join(source, "build")
	found, err := tools.Find(ctx, tools.Options{
		BuildDir: build, SourceDir: source, NeedVfioUser: true, NeedPrograms: true, // the demo's QEMU: one is enough
		Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, whole: t, ctx: ctx, tools: found, build: build, out: filepath.Join(build, "peers", t.Name())}
	if err := os.MkdirAll(l.out, 0o755); err != nil {
		t.Fatal(err)
	}
	if l.run, err = os.MkdirTemp("/tmp", "vvufwd-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(l.run) })
	return l
}

// step runs a part of the test under a name of its own. The test ends with the first part that fails, because later ones build
// on it.
func (l *lab) step(name string, do func(l *lab)) {
	l.Helper()
	begin := time.Now()
	if !l.Run(name, func(t *testing.T) {
		part := *l
		part.T = t
		do(&part)
	}) {
		l.FailNow()
	}
	l.Logf("%s: %.1f s", name, time.Since(begin).Seconds())
}

// atEnd does something when the whole test ends, in reverse order.
func (l *lab) atEnd(do func()) { l.whole.Cleanup(do) }

// must ends the test if there is an error.
func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) socket(name string) string { return filepath.Join(l.run, name) }

// together runs all at the same time and ends the test if one fails.
func (l *lab) together(do ...func() error) {
	l.Helper()
	results := make(chan error, len(do))
	for _, f := range do {
		go func() { results <- f() }()
	}
	for range do {
		if err := <-results; err != nil {
			l.Error(err)
		}
	}
	if l.Failed() {
		l.FailNow()
	}
}

// eventually waits until check returns nil, and fails with what it last returned.
func (l *lab) eventually(check func() error) {
	l.Helper()
	var err error
	for deadline := time.Now().Add(commandLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	l.Fatal(err)
}
