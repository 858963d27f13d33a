package netdevtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Another is one more network namespace beside that of a test, such as a container's.
type Another struct{ pid int }

// AnotherNamespace makes one, for as long as the test runs. The test is skipped where that cannot be.
func AnotherNamespace(t testing.TB) *Another {
	t.Helper()
	if _, err := exec.LookPath("nsenter"); err != nil {
		t.Skip("skipped: there is no program nsenter (Debian package util-linux)")
	}
	there := exec.Command("cat") // until its input ends
	there.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET}
	end, err := there.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Start(); err != nil {
		t.Skipf("skipped: no second network namespace: %v", err)
	}
	t.Cleanup(func() {
		end.Close()
		there.Wait()
	})
	return &Another{there.Process.Pid}
}

// IP runs ip in it.
func (a *Another) IP(t testing.TB, words string) {
	t.Helper()
	args := append([]string{"-t", fmt.Sprint(a.pid), "-n", "ip"}, strings.Fields(words)...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s, in another namespace: %v: %s", words, err, out)
	}
}

// Take moves an interface of the test's namespace there; it is down from then on.
func (a *Another) Take(t testing.TB, name string) {
	t.Helper()
	IP(t, fmt.Sprintf("link set %s netns %d", name, a.pid))
}

// Give moves it back. It is down from then on.
func (a *Another) Give(t testing.TB, name string) {
	t.Helper()
	a.IP(t, fmt.Sprintf("link set %s netns /proc/%d/task/%d/ns/net", name, os.Getpid(), unix.Gettid()))
}

// shows waits until ip shows of an interface there what is wanted.
func (a *Another) shows(t testing.TB, name string, wanted func(text string) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(a.pid), "-n", "ip", "-d", "link", "show", name).Output()
		if err == nil && wanted(string(out)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in another namespace: %s (%v)", out, err)
		}
	}
}

// Moved has the interface of A, which is one end of a cable, go to another network namespace and come back. For the port it is gone
// meanwhile, and it belongs to whoever has it there. Once it is back before anyone may have noticed.
func Moved(t *testing.T, p *Pair) {
	t.Helper()
	another := AnotherNamespace(t)
	p.Run(t)
	another.Take(t, p.Name)
	another.IP(t, "link set "+p.Name+" up")
	another.shows(t, p.Name, func(text string) bool {
		return !strings.Contains(text, "xdp") && !strings.Contains(text, "promiscuity 1")
	})
	for end := time.Now().Add(time.Minute); p.A.Stats().Link; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the port has a link without an interface")
		}
	}
	another.Give(t, p.Name)
	IP(t, "link set "+p.Name+" up")
	p.Passes(t, time.Minute)
	p.passBack(t)
	for range 3 {
		another.Take(t, p.Name)
		another.Give(t, p.Name)
		IP(t, "link set "+p.Name+" up")
		p.Passes(t, time.Minute)
		p.passBack(t)
	}
}

// passBack is Passes for the other direction.
func (p *Pair) passBack(t testing.TB) {
	t.Helper()
	back := &Pair{A: p.B, B: p.A}
	back.Passes(t, time.Minute)
}
