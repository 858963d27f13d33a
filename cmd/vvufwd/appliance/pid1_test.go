package appliance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleEnv makes the test binary play a part instead of testing.
const roleEnv = "VVUFWD_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if terminal, found := strings.CutPrefix(role, "attach to "); found {
		os.Exit(playAttach(terminal))
	}
	if os.Getpid() == 1 {
		Supervise()
	}
	if !Supervised() {
		fmt.Println("the child does not know that it is supervised")
		os.Exit(9)
	}
	if err := playChild(role); err != nil {
		fmt.Println(err)
		os.Exit(9)
	}
	os.Exit(0)
}

// playChild is what Supervise starts.
func playChild(role string) error {
	switch role {
	case "succeed":
		fmt.Printf("arguments %q\n", os.Args[1:])
	case "fail":
		os.Exit(3)
	case "panic":
		go panic("in another goroutine")
		time.Sleep(time.Minute)
	case "fault":
		// Memory behind the end of a file is what a BAR is after its device went away.
		file, err := os.CreateTemp("", "vvufwd-test")
		if err != nil {
			return err
		}
		if err := os.Remove(file.Name()); err != nil {
			return err
		}
		memory, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		fmt.Println(memory[0])
	case "leave orphans":
		return leaveOrphans()
	case "flood and fail":
		flood()
		os.Exit(3)
	case "flood and panic":
		flood()
		panic("no one reads this")
	case "flood and wait":
		ctx, cancel := StopSignal(context.Background())
		defer cancel()
		flood()
		fmt.Println("flooded")
		<-ctx.Done()
	case "wait":
		ctx, cancel := StopSignal(context.Background())
		defer cancel()
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("stopped by", context.Cause(ctx))
	default:
		return fmt.Errorf("no one plays %q", role)
	}
	return nil
}

// leaveOrphans makes processes whose parent is gone, so that they belong to PID 1, and
// waits until they are not even zombies any more.
func leaveOrphans() error {
	var orphans []int
	for range 10 {
		out, err := exec.Command("/bin/sh", "-c", "sleep 0.01 >/dev/null & echo $!").Output()
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			return err
		}
		orphans = append(orphans, pid)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range orphans {
		for !errors.Is(unix.Kill(pid, 0), unix.ESRCH) { // a zombie can be sent a signal
			if time.Now().After(deadline) {
				return fmt.Errorf("orphan %d was not reaped", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Println("all reaped")
	return nil
}

// playAttach is a process without standard streams that finds a console.
func playAttach(terminal string) int {
	if !leadsNowhere(0) || !leadsNowhere(1) || !leadsNowhere(2) {
		return 8
	}
	if err := attachConsole(terminal); err != nil {
		return 9
	}
	fmt.Println("out")
	fmt.Fprintln(os.Stderr, "err")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return 10
	}
	return 0
}

// pid1 is a test binary that runs Supervise as the init of a PID namespace of its own, as
// the owner of nothing outside of it.
func pid1(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// The user namespace keeps mounts, and remounting the root read-only, away from
		// the file systems of this machine.
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	return cmd
}

// start starts PID 1 in its namespace; a machine whose kernel allows no namespaces cannot
// run these tests.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Start()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		t.Skipf("this machine allows us no user namespaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkPowerOff makes sure that PID 1 ended by switching its machine off. What the kernel
// does for that in a PID namespace is to report the end by SIGINT; a restart would be
// SIGHUP, and what would be a panic is any other end.
func checkPowerOff(t *testing.T, err error) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("PID 1 ended with %v", err)
	}
	if status := exit.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != unix.SIGINT {
		t.Errorf("PID 1 did not switch the machine off, it ended with %v", exit)
	}
}

func TestPID1(t *testing.T) {
	for _, test := range []struct {
		role string
		code int
		says []string
	}{
		{"succeed", 0, []string{`arguments ["--vvu" "0000:00:05.0"]`}},
		{"fail", 3, nil},
		{"panic", 1, []string{"panic: in another goroutine", "crashed (SIGABRT)"}},
		{"fault", 1, []string{"unexpected fault address", "crashed (SIGABRT)"}},
		{"leave orphans", 0, []string{"all reaped"}},
	} {
		t.Run(test.role, func(t *testing.T) {
			t.Parallel()
			var output syncBuffer
			cmd := pid1(t, test.role, "--vvu", "0000:00:05.0")
			cmd.Stdout, cmd.Stderr = &output, &output
			start(t, cmd)
			checkPowerOff(t, cmd.Wait())
			lastLine := fmt.Sprintf("vvufwd: exit code %d\n", test.code)
			if !strings.HasSuffix(output.String(), lastLine) {
				t.Errorf("the last line is not %q", lastLine)
			}
			for _, want := range test.says {
				if !strings.Contains(output.String(), want) {
					t.Errorf("nothing said about %q", want)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", output.String())
			}
		})
	}
}

func TestPID1Stops(t *testing.T) {
	for name, stop := range map[string]func(cmd *exec.Cmd, console io.Writer) error{
		"SIGTERM": func(cmd *exec.Cmd, _ io.Writer) error { return cmd.Process.Signal(unix.SIGTERM) },
		"SIGINT":  func(cmd *exec.Cmd, _ io.Writer) error { return cmd.Process.Signal(unix.SIGINT) },
		"SIGPWR":  func(cmd *exec.Cmd, _ io.Writer) error { return cmd.Process.Signal(unix.SIGPWR) },
		"Enter":   func(_ *exec.Cmd, console io.Writer) error { _, err := io.WriteString(console, "\r"); return err },
		"SIGHUP, SIGQUIT, Ctrl-D and then SIGTERM": func(cmd *exec.Cmd, console io.Writer) error {
			_, err := io.WriteString(console, "\x04")
			return errors.Join(err, cmd.Process.Signal(unix.SIGHUP), cmd.Process.Signal(unix.SIGQUIT), cmd.Process.Signal(unix.SIGTERM))
		},
	} {
		t.Run(name, func(t *testing.T) {
			person, terminal := openPTY(t)
			cmd := pid1(t, "wait")
			cmd.Stdin = terminal
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			messages := &syncBuffer{}
			cmd.Stderr = messages
			start(t, cmd)
			lines := bufio.NewReader(out)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Fatalf("the child began with %q, %v", line, err)
			}
			if err := stop(cmd, person); err != nil {
				t.Error(err)
			}
			rest, err := io.ReadAll(lines)
			if err != nil {
				t.Error(err)
			}
			checkPowerOff(t, cmd.Wait())
			if want := "stopped by terminated signal received\n"; string(rest) != want {
				t.Errorf("the child said %q, want %q", rest, want)
			}
			if said := messages.String(); !strings.Contains(said, "vvufwd: stopping: ") || !strings.HasSuffix(said, "vvufwd: exit code 0\n") {
				t.Errorf("PID 1 said %q", said)
			}
		})
	}
}

// TestChildEnv puts our own settings first, because that is what counts for Go.
func TestChildEnv(t *testing.T) {
	got := childEnv([]string{"GOTRACEBACK=none", "TERM=linux"})
	want := []string{supervisedEnv + "=1", "GOTRACEBACK=crash", "GOTRACEBACK=none", "TERM=linux"}
	if !slices.Equal(got, want) {
		t.Errorf("the child's environment is %q, want %q", got, want)
	}
}

func TestAttachConsole(t *testing.T) {
	person, terminal := openPTY(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self) // its standard streams are /dev/null
	cmd.Env = append(os.Environ(), roleEnv+"=attach to "+terminal.Name())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(person, "\r"); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got, text := make([]byte, 256), ""
	for !strings.Contains(text, "out") || !strings.Contains(text, "err") { // the echo of what was typed is there as well
		n, err := person.Read(got)
		if err != nil {
			t.Fatalf("the console got %q, want both output streams: %v", text, err)
		}
		text += string(got[:n])
	}
	if err := attachConsole("/no such console"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a console that is not there: %v", err)
	}
}
