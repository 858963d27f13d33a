package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forwarder is a vvufwd process under test. Its ports are paired in order: 0 with
// 1, 2 with 3.
type forwarder struct {
	sockets []string
	log     *journal
	stats   *statistics

	cmd      *exec.Cmd
	exited   chan struct{}
	status   error // of the process, once exited is closed
	expected bool  // its end was, however it came
}

// startForwarder starts vvufwd with so many ports. At the end of the test it must
// still be there, and end in order.
func startForwarder(t *testing.T, ports int, flags ...string) *forwarder {
	t.Helper()
	return startForwarderWith(t, make([]string, ports), flags...)
}

// startForwarderWith starts vvufwd with a port for each of some options, which are
// what stands behind its socket.
func startForwarderWith(t *testing.T, options []string, flags ...string) *forwarder {
	t.Helper()
	// Not t.TempDir: paths of sockets must be short.
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &forwarder{exited: make(chan struct{})}
	args := append([]string{"--log-format=json", "--stats=50ms", "--stats-json", "--idle-after=200us"}, flags...)
	for i, option := range options {
		f.sockets = append(f.sockets, filepath.Join(dir, fmt.Sprint(i, ".sock")))
		args = append(args, "--vhost-user="+f.sockets[i]+option)
	}
	f.cmd = exec.Command(programs.vvufwd, args...)
	f.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	stderr, err := f.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.log, f.stats = newJournal(stderr), newStatistics(stdout)
	go func() {
		<-f.log.ended
		<-f.stats.ended
		f.status = f.cmd.Wait()
		close(f.exited)
	}()
	t.Cleanup(func() { f.stop(t) })
	for _, s := range f.sockets {
		eventually(t, "vvufwd listens at "+s, func() bool {
			_, err := os.Stat(s)
			return err == nil
		})
	}
	return f
}

// pid is the process.
func (f *forwarder) pid() int { return f.cmd.Process.Pid }

// end sends vvufwd a signal and returns whether it ended in good time.
func (f *forwarder) end(sig os.Signal) bool {
	f.cmd.Process.Signal(sig)
	select {
	case <-f.exited:
		return true
	case <-time.After(patience):
		return false
	}
}

// stop ends vvufwd as an operator does and checks that it could be: exit code 0,
// quickly, with no word outside its log, whatever it has been through.
func (f *forwarder) stop(t *testing.T) {
	t.Helper()
	if f.expected {
		return
	}
	f.expected = true
	select {
	case <-f.exited:
	default:
		before := f.stats.count()
		if !f.end(unix.SIGTERM) {
			t.Errorf("vvufwd did not stop within %v of SIGTERM:\n%s", patience, f.dump())
			return
		}
		if f.stats.count() == before {
			t.Error("vvufwd printed no totals at its end")
		}
	}
	if f.status != nil {
		t.Errorf("vvufwd ended with %v", f.status)
	}
	if words := f.log.outside(); len(words) > 0 {
		t.Errorf("vvufwd wrote outside its log:\n%s", strings.Join(words[:min(len(words), 100)], "\n"))
	}
}

// dump kills vvufwd for the traces of its goroutines.
func (f *forwarder) dump() string {
	if !f.end(unix.SIGQUIT) {
		f.cmd.Process.Kill()
		<-f.exited
	}
	var ours []string // the runtime's own goroutines tell nothing
	for trace := range strings.SplitSeq(strings.Join(f.log.outside(), "\n"), "\n\n") {
		if strings.Contains(trace, "vvufwd/") {
			ours = append(ours, trace)
		}
	}
	return strings.Join(ours, "\n\n")
}

// alive fails the test if vvufwd has ended.
func (f *forwarder) alive(t *testing.T) {
	t.Helper()
	select {
	case <-f.exited:
		t.Fatalf("vvufwd is gone (%v):\n%s", f.status, strings.Join(f.log.outside(), "\n"))
	default:
	}
}

// census counts what a process holds.
type census struct {
	files, mappings, threads int
	memory, huge             int // KiB
}

func (c census) String() string {
	return fmt.Sprintf("%d files, %d mappings, %d threads, %d KiB resident, %d KiB in huge pages", c.files, c.mappings, c.threads, c.memory, c.huge)
}

// census counts what vvufwd holds now.
func (f *forwarder) census(t *testing.T) (c census) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", f.pid())
	for _, list := range []struct {
		name string
		n    *int
	}{{"fd", &c.files}, {"task", &c.threads}} {
		entries, err := os.ReadDir(proc + list.name)
		if err != nil {
			t.Fatal(err)
		}
		*list.n = len(entries)
	}
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		t.Fatal(err)
	}
	// The Go heap's own mappings come and go; what front-ends share has a name.
	c.mappings = strings.Count(string(maps), "memfd:")
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &c.memory)
		fmt.Sscanf(line, "HugetlbPages: %d", &c.huge)
	}
	return c
}

// settled waits until vvufwd holds no more files and mappings than before, and
// compares all else. Threads and memory may grow a little: the runtime keeps what
// it once needed.
func (f *forwarder) settled(t *testing.T, before census) census {
	t.Helper()
	now := f.census(t)
	for deadline := time.Now().Add(patience); (now.files > before.files || now.mappings > before.mappings || now.huge > before.huge) && time.Now().Before(deadline); now = f.census(t) {
		time.Sleep(5 * time.Millisecond)
	}
	const moreMemory = 24 << 10
	moreThreads := 4 + len(f.sockets)
	if now.files > before.files || now.mappings > before.mappings || now.huge > before.huge ||
		now.threads > before.threads+moreThreads || now.memory > before.memory+moreMemory {
		t.Errorf("vvufwd leaks: %v before, %v after", before, now)
	}
	return now
}
