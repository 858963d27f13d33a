package confine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	refused = "operation not permitted" // EPERM: the filter, or no capability
	denied  = "permission denied"       // EACCES: Landlock
	done    = "done"
)

// place is a directory with what attacks want.
type place struct{ dir, file, empty, socket string }

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	p := place{dir: dir, file: filepath.Join(dir, "file"), empty: filepath.Join(dir, "empty"), socket: filepath.Join(dir, "socket")}
	if err := errors.Join(os.WriteFile(p.file, nil, 0o600), os.Mkdir(p.empty, 0o700)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: p.socket}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAttacks has a process attack with and without being confined, so that no attack
// is taken for refused that never works.
func TestAttacks(t *testing.T) {
	for _, test := range []struct {
		act   string
		path  func(place) string
		admin bool // needs to be root of a namespace
	}{
		{act: "read a file", path: func(place) string { return "/etc/passwd" }},
		{act: "write a file", path: func(p place) string { return p.file }},
		{act: "make a file", path: func(p place) string { return p.file }},
		{act: "remove a file", path: func(p place) string { return p.file }},
		{act: "remove a directory", path: func(p place) string { return p.empty }},
		{act: "rename a file", path: func(p place) string { return p.file }},
		{act: "execute a program"},
		{act: "fork"},
		{act: "make a namespace", admin: true},
		{act: "mount", path: func(p place) string { return p.empty }, admin: true},
		{act: "use a capability", admin: true},
		{act: "open an IP socket"},
		{act: "open a UNIX socket"},
		{act: "open a raw socket"},
		{act: "connect", path: func(p place) string { return p.socket }},
		{act: "accept"},
		{act: "map executable memory"},
		{act: "make memory executable"},
		{act: "signal another process"},
		{act: "signal another's thread"},
		{act: "make a request to a terminal"},
		{act: "make a request to a VFIO group"},
		{act: "map memory for a device"},
		{act: "reset a device"},
		{act: "become someone else"},
		{act: "raise a limit"},
		{act: "own descriptors' signals"},
		{act: "write another process's memory"},
		{act: "lift the filter"},
		{act: "submit a request"},
		{act: "load a BPF program", admin: true},
	} {
		t.Run(test.act, func(t *testing.T) {
			t.Parallel()
			run := func(steps ...string) string {
				p, r := newPlace(t), role{Steps: steps, Act: test.act}
				if test.path != nil {
					r.Path = test.path(p)
				}
				cmd := command(t, r)
				if test.admin {
					asRoot(t, cmd)
				}
				return outcome(t, cmd)
			}
			if got := run("policy"); !strings.HasSuffix(got, refused) {
				t.Errorf("confined: %s, want %q", got, refused)
			}
			if got := run(); got != done {
				t.Errorf("not confined: %s, so the attack is none", got)
			}
		})
	}
}

// TestRawIOIsKept: of all capabilities one, in a process made for it, and not more.
func TestRawIOIsKept(t *testing.T) {
	for rawIO, want := range map[bool]string{false: "0", true: "20000"} {
		r := role{Policy: Policy{RawIO: rawIO}, Steps: []string{"start"}, Act: "tell its capabilities"}
		cmd := command(t, r)
		asRoot(t, cmd)
		if got := outcome(t, cmd); got != want {
			t.Errorf("RawIO %v: capabilities %s, want %s", rawIO, got, want)
		}
	}
}

// TestArenas: a C library's malloc does not look for processors once the process is confined,
// whatever the user has told it.
func TestArenas(t *testing.T) {
	for _, setting := range []string{"", "9"} {
		cmd := command(t, role{Steps: []string{"start"}, Act: "tell its arenas"})
		if setting != "" {
			cmd.Env = append(cmd.Env, arenasEnv+"="+setting)
		}
		if got := outcome(t, cmd); got != "1" {
			t.Errorf("with %q for %s it has %q", setting, arenasEnv, got)
		}
	}
}

// TestMonitorIsSlow: the program that is executed has late timers, by inheritance all of its threads.
func TestMonitorIsSlow(t *testing.T) {
	want := fmt.Sprintf("%d ns", monitorNap.Nanoseconds())
	if got := outcome(t, command(t, role{Steps: []string{"start"}, Act: "tell its timer slack"})); got != want {
		t.Errorf("its timer slack is %s, want %s", got, want)
	}
}

// asRoot makes a process root of its own user namespace, with all capabilities in it. A
// machine whose kernel allows no such namespaces cannot run the test.
func asRoot(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	trial := exec.Command("/bin/true")
	trial.SysProcAttr = cmd.SysProcAttr
	if err := trial.Run(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		t.Skipf("this machine allows us no user namespaces: %v", err)
	}
}

// TestPtrace traces a process that does not exist, so that no one is disturbed: the
// filter refuses before the kernel looks for it.
func TestPtrace(t *testing.T) {
	for _, test := range []struct {
		steps []string
		want  string
	}{
		{nil, "no such process"},
		{[]string{"policy"}, refused},
	} {
		if got := outcome(t, command(t, role{Steps: test.steps, Act: "trace no one"})); got != test.want {
			t.Errorf("with %v: %s, want %q", test.steps, got, test.want)
		}
	}
}

// TestClone3 has to look as if the kernel did not know it, so that C libraries make
// do without.
func TestClone3(t *testing.T) {
	if got := outcome(t, command(t, role{Steps: []string{"policy"}, Act: "clone3"})); got != "function not implemented" {
		t.Errorf("confined: %s", got)
	}
	if got := outcome(t, command(t, role{Act: "clone3"})); got != done {
		t.Errorf("not confined: %s", got)
	}
}

// TestLayers has each layer refuse by itself what the others would refuse too.
func TestLayers(t *testing.T) {
	for _, test := range []struct {
		step, act, want string
	}{
		{"files", "read a file", denied},
		{"files", "make a file", denied},
		{"files", "remove a file", denied},
		{"files", "remove a directory", denied},
		{"capabilities", "use a capability", refused},
		{"filter", "read a file", refused},
		{"filter", "use a capability", refused},
	} {
		t.Run(test.step+", "+test.act, func(t *testing.T) {
			t.Parallel()
			needLandlock(t, test.step == "files")
			p := newPlace(t)
			r := role{Steps: []string{"no_new_privs", test.step}, Act: test.act, Path: p.file}
			if test.act == "remove a directory" {
				r.Path = p.empty
			}
			cmd := command(t, r)
			if test.act == "use a capability" {
				asRoot(t, cmd)
			}
			if got := outcome(t, cmd); got != test.want {
				t.Errorf("%s, want %q", got, test.want)
			}
		})
	}
}

// needLandlock leaves out a test of what the kernel does not have.
func needLandlock(t *testing.T, needed bool) int {
	t.Helper()
	abi, err := landlockABI()
	if needed && err != nil {
		t.Skipf("the kernel has no Landlock: %v", err)
	}
	return abi
}

// TestPolicy gives what a policy names and nothing beside it.
func TestPolicy(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	abi := needLandlock(t, true)
	elsewhere := denied
	if abi < 9 {
		elsewhere = done // such kernels cannot tell sockets apart
	}
	for _, test := range []struct {
		policy    Policy
		act, path string
		want      string
	}{
		{Policy{Listen: []string{p.socket}}, "remove a file", other.file, denied},
		{Policy{Listen: []string{p.socket}}, "remove a directory", p.empty, refused},
		{Policy{Listen: []string{p.socket}}, "write a file", p.file, refused},
		{Policy{Listen: []string{p.socket}}, "make a file", p.file, refused},
		{Policy{Listen: []string{p.socket}}, "connect", p.socket, "socket: " + refused},
		{Policy{Listen: []string{p.socket}}, "accept", "", done},
		{Policy{Accept: true}, "accept", "", done},
		{Policy{Accept: true}, "remove a file", other.file, refused},
		{Policy{Accept: true}, "open an IP socket", "", refused},
		{Policy{Connect: []string{p.socket}}, "connect", p.socket, done},
		{Policy{Connect: []string{filepath.Join(p.dir, "a", "b", "socket")}}, "connect", p.socket, done},
		{Policy{Connect: []string{p.socket}}, "connect", other.socket, elsewhere},
		{Policy{Connect: []string{p.socket}}, "accept", "", refused},
		{Policy{Connect: []string{p.socket}}, "remove a file", p.file, refused},
		{Policy{Connect: []string{p.socket}}, "open an IP socket", "", refused},
		{Policy{Connect: []string{p.socket}}, "open a raw socket", "", refused},
		{Policy{Read: []string{p.file}}, "read a file", p.file, refused}, // before Finish only
		{Policy{ReadVFIO: []string{p.dir}}, "read a file", p.file, refused},
		{Policy{VFIO: true}, "reset a device", "", done},
		{Policy{AsyncIO: true}, "submit a request", "", done},
		{Policy{VFIO: true}, "map memory for a device", "", done},
		{Policy{VFIO: true}, "read a file", p.file, refused},
		{Policy{VFIO: true}, "write a file", p.file, refused},
		{Policy{OpenVFIO: []string{other.dir}, ReadVFIO: []string{p.dir}}, "read a file", p.file, done},
		{Policy{OpenVFIO: []string{other.dir}, ReadVFIO: []string{p.dir}}, "write a file", p.file, denied},
		{Policy{OpenVFIO: []string{other.dir}, ReadVFIO: []string{p.dir}}, "write a file", other.file, done},
		{Policy{OpenVFIO: []string{p.dir}}, "make a request to a VFIO group", "", done},
		{Policy{OpenVFIO: []string{p.dir}}, "reset a device", "", refused},
		{Policy{OpenVFIO: []string{p.dir}}, "read a file", p.file, done},
		{Policy{OpenVFIO: []string{p.dir}}, "write a file", p.file, done},
		{Policy{OpenVFIO: []string{p.dir}}, "read a file", other.file, denied},
		{Policy{OpenVFIO: []string{p.dir}}, "write a file", other.file, denied},
		{Policy{OpenVFIO: []string{p.dir}}, "make a file", p.file, refused},
		{Policy{OpenVFIO: []string{p.dir}}, "open a UNIX socket", "", refused},
		{Policy{VFIO: true}, "make a request to a VFIO group", "", refused},
		{Policy{VFIO: true}, "make a request to a terminal", "", refused},
		{Policy{Listen: []string{p.socket}}, "remove a file", p.socket, done}, // last: it is gone then
	} {
		if got := outcome(t, command(t, role{Steps: []string{"policy"}, Policy: test.policy, Act: test.act, Path: test.path})); got != test.want {
			t.Errorf("%+v: %s: %s, want %q", test.policy, test.act, got, test.want)
		}
	}
	// A directory that is not there at the start opens no other.
	got := outcome(t, command(t, role{Steps: []string{"policy"}, Policy: Policy{OpenVFIO: []string{p.dir + "/none"}}, Act: "write a file", Path: other.file}))
	if got != denied {
		t.Errorf("a directory that is not there: %s", got)
	}
}

// TestEveryThread looks at a confined process from outside: all of its threads, those
// that were there before and those that came later, have nothing left.
func TestEveryThread(t *testing.T) { onBoth(t, testEveryThread) }

func testEveryThread(t *testing.T, probe string) {
	cmd := commandOf(t, probe, role{Steps: []string{"policy"}, Act: "wait"})
	asRoot(t, cmd) // has all capabilities, to begin with
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
	if err != nil || len(threads) < 6 {
		t.Errorf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status := readStatus(t, thread)
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if strings.Trim(status[set], "0") != "" || status[set] == "" {
				t.Errorf("%s: %s is %q", thread, set, status[set])
			}
		}
		if status["NoNewPrivs"] != "1" || status["Seccomp"] != "2" || status["Seccomp_filters"] != "1" {
			t.Errorf("%s: no_new_privs %q, seccomp %q, filters %q", thread, status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"])
		}
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func readStatus(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// TestWork makes sure that what a program needs still works.
func TestWork(t *testing.T) { onBoth(t, testWork) }

func testWork(t *testing.T, probe string) {
	if got := outcome(t, commandOf(t, probe, role{Steps: []string{"policy"}, Act: "work"})); got != done {
		t.Error(got)
	}
}

// TestFaults has memory vanish from under a confined process, which recovers.
func TestFaults(t *testing.T) { onBoth(t, testFaults) }

func testFaults(t *testing.T, probe string) {
	file, err := os.Create(filepath.Join(t.TempDir(), "empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := commandOf(t, probe, role{Steps: []string{"policy"}, Act: "survive a fault"})
	cmd.ExtraFiles = []*os.File{file}
	if got := outcome(t, cmd); got != done {
		t.Error(got)
	}
}

// TestCrash sees that a crash tells where, and ends the process as it would have
// otherwise.
func TestCrash(t *testing.T) { onBoth(t, testCrash) }

func testCrash(t *testing.T, probe string) {
	for level, end := range map[string]func(syscall.WaitStatus) bool{
		"single": func(s syscall.WaitStatus) bool { return s.ExitStatus() == 2 },
		"crash":  func(s syscall.WaitStatus) bool { return s.Signaled() && s.Signal() == unix.SIGABRT },
	} {
		cmd := commandOf(t, probe, role{Steps: []string{"policy"}, Act: "panic"})
		cmd.Env = append(cmd.Env, "GOTRACEBACK="+level)
		cmd.Dir = t.TempDir() // for a core file
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !end(exit.Sys().(syscall.WaitStatus)) {
			t.Errorf("GOTRACEBACK=%s: ended with %v", level, err)
		}
		if text := string(out); !strings.Contains(text, "panic: on purpose") || !strings.Contains(text, "acts_test.go:") {
			t.Errorf("GOTRACEBACK=%s: the trace is %s", level, text)
		}
	}
}

// TestTwice confines a process that is confined already, as it would be by whoever
// started it.
func TestTwice(t *testing.T) {
	got := outcome(t, command(t, role{Steps: []string{"no_new_privs", "files", "capabilities", "policy"}, Act: "work"}))
	if got != done {
		t.Error(got)
	}
}
