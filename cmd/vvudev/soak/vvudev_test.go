package soak

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vvufwd/cmd/internal/statictest"
	"vvufwd/vvu/vvutest"
)

// programs is the directory of the vvudev that is tested.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "soak"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(programs)
		if err := statictest.Build(programs, "vvudev"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// patience is how long anything may take that takes milliseconds on an idle machine.
const patience = 20 * time.Second

// vvudev is a running vvudev with the RAM of its app VM.
type vvudev struct {
	name         string
	cmd          *exec.Cmd
	ram          *vvutest.RAM
	monitor, app string // sockets
	log          string // file
}

func startVvudev(t *testing.T, name string) *vvudev {
	t.Helper()
	dir, err := os.MkdirTemp("", name) // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &vvudev{name: name, ram: vvutest.NewRAM(t), monitor: filepath.Join(dir, "m"), app: filepath.Join(dir, "a"), log: filepath.Join(t.TempDir(), name+".log")}
	log, err := os.Create(v.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v.cmd = exec.Command(filepath.Join(programs, "vvudev"), "--vfio-user", v.monitor, "--vhost-user", v.app,
		"--ram", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), v.ram.FD), "--log-level", "error")
	v.cmd.Stderr = log
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		v.cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, first := os.Stat(v.monitor)
		_, second := os.Stat(v.app)
		if first == nil && second == nil {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %s", name, v.said())
		}
	}
}

// said is the end of its log.
func (v *vvudev) said() string {
	text, err := os.ReadFile(v.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// stop ends it, which has to go well.
func (v *vvudev) stop(t *testing.T) {
	t.Helper()
	v.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { v.cmd.Process.Kill() })
	defer late.Stop()
	if err := v.cmd.Wait(); err != nil {
		t.Errorf("%s: %v: %s", v.name, err, v.said())
	}
}

// census is what a process holds.
type census struct {
	files, mappings, threads int
	memory                   int // KiB
}

func (c census) String() string {
	return fmt.Sprintf("%d files, %d mappings, %d threads, %d KiB resident", c.files, c.mappings, c.threads, c.memory)
}

// count counts what a process holds now.
func count(t *testing.T, pid int) (c census) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	for name, n := range map[string]*int{"fd": &c.files, "task": &c.threads} {
		entries, err := os.ReadDir(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		*n = len(entries)
	}
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		t.Fatal(err)
	}
	c.mappings = strings.Count(string(maps), "memfd:") // those of the Go heap come and go
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "RssAnon: %d", &c.memory)
	}
	return c
}

// settles waits until a process holds no more files and mappings than before, and compares
// all else. Threads and memory may grow a little: the runtime keeps what it once needed.
func settles(t *testing.T, name string, pid int, before census) {
	t.Helper()
	now := count(t, pid)
	for deadline := time.Now().Add(patience); (now.files > before.files || now.mappings > before.mappings) && time.Now().Before(deadline); now = count(t, pid) {
		time.Sleep(5 * time.Millisecond)
	}
	const moreThreads, moreMemory = 8, 24 << 10
	if now.files > before.files || now.mappings > before.mappings || now.threads > before.threads+moreThreads || now.memory > before.memory+moreMemory {
		t.Errorf("%s leaks: %v before, %v after", name, before, now)
	}
	t.Logf("%s: %v before, %v after", name, before, now)
}
