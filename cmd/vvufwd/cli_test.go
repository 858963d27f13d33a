package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/statictest"
	"vvufwd/vvu/vhostuser"
)

// Scripts know two vvufwds: the one that tests are built with, and that may have the
// race detector, keeps its privileges; the other is built as it is shipped.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvufwd": func() {
			os.Args = append(os.Args, noConfine)
			main()
		},
		"peer": peer,
	})
}

// TestCLI plays command lines and checks messages and exit codes.
func TestCLI(t *testing.T) { play(t, "testdata", nil) }

// TestConfined plays scripts with vvufwd as it is shipped, which gives up its
// privileges, those about sockets and those about what is left of it then.
func TestConfined(t *testing.T) {
	dir := t.TempDir()
	if err := statictest.Build(dir, "vvufwd", "vvugen"); err != nil {
		t.Fatal(err)
	}
	confinedIn(t, dir)
	t.Run("starts", func(t *testing.T) { testStarts(t, filepath.Join(dir, "vvufwd")) })
}

// TestConfinedWithCgo is for who builds with "go build" where there is a C compiler.
func TestConfinedWithCgo(t *testing.T) {
	dir := t.TempDir()
	switch err := statictest.BuildWithCgo(dir, "vvufwd", "vvugen"); {
	case errors.Is(err, statictest.ErrNoCompiler):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	confinedIn(t, dir)
}

// testStarts has vvufwd started many times, by several at a time: each has to answer a
// front-end, and to have given up all privileges by then.
func testStarts(t *testing.T, binary string) {
	const starts, starters = 300, 4
	var left atomic.Int32
	left.Store(starts)
	for range starters {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for left.Add(-1) >= 0 {
				startOnce(t, binary)
			}
		})
	}
}

func startOnce(t *testing.T, binary string) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "a")
	var out bytes.Buffer
	cmd := exec.Command(binary, "--vhost-user", socket, "--vhost-user", filepath.Join(dir, "b"))
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Signal(unix.SIGABRT) }) // shows where
	defer stuck.Stop()
	c, err := vhostuser.Dial(socket)
	for errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		time.Sleep(time.Millisecond)
		c, err = vhostuser.Dial(socket)
	}
	if err == nil {
		err = c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	}
	if err == nil {
		_, err = c.ReadMessage()
	}
	if err == nil {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("want %q of %s", want, status)
			}
		}
		c.Close()
	}
	cmd.Process.Signal(unix.SIGTERM)
	if e := cmd.Wait(); err != nil || e != nil {
		t.Fatalf("%v, %v:\n%s", err, e, out.Bytes())
	}
}

// confinedIn plays all scripts with the vvufwd in a directory.
func confinedIn(t *testing.T, dir string) {
	setup := func(env *testscript.Env) error {
		env.Setenv("PATH", dir+string(filepath.ListSeparator)+env.Getenv("PATH"))
		return nil
	}
	play(t, "testdata", setup)
	play(t, "testdata/confined", setup)
}

// play runs the scripts of a directory. exitcode runs a command and compares its exit
// code, which testscript's exec does not tell.
func play(t *testing.T, dir string, setup func(*testscript.Env) error) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               setup,
		RequireExplicitExec: true,
		Condition: func(cond string) (bool, error) {
			// Machines that do have VFIO fail later, with other messages.
			_, err := os.Stat("/dev/vfio/vfio")
			return cond == "novfio" && err != nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": exitCode, "await": await, "status": status,
		},
	})
}

// await waits until a file has the words: await FILE WORDS.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE WORDS")
	}
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s has no %q within 10 s: %s", args[0], args[1], text)
}

// status checks a field of all threads of the program that was started last: status
// FIELD VALUE.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: status FIELD VALUE")
	}
	running := ts.BackgroundCmds()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", running[len(running)-1].Process.Pid))
	ts.Check(err)
	if len(threads) < 2 {
		ts.Fatalf("%d threads", len(threads))
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		ts.Check(err)
		if !strings.Contains(string(text), "\n"+args[0]+":\t"+args[1]+"\n") {
			ts.Fatalf("%s is not %s: %s", args[0], args[1], text)
		}
	}
}

// peer listens at a socket, waits until somebody connects, and closes the connection:
// peer SOCKET.
func peer() {
	l, err := net.Listen("unix", os.Args[1])
	if err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			err = errors.Join(conn.Close(), l.Close())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = err.Error() // "exit status 2"
		got = got[len("exit status "):]
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func TestPortsArePairedInOrder(t *testing.T) {
	if _, err := parseFlags([]string{"--vvu", "5.0", "--nic=0000:00:04.0"}, false, os.Stderr); err == nil {
		t.Fatal("accepted the address 5.0")
	}
	o, err := parseFlags([]string{"--vvu", "00:05.0", "--nic=0000:00:04.0", "--port", "vhost-user:/b.sock,client", "--port=virtio-net:01:00.0"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range o.ports {
		got = append(got, p.String())
	}
	want := []string{"vvu:0000:00:05.0", "nic:0000:00:04.0", "vhost-user:/b.sock", "virtio-net:0000:01:00.0"}
	if !slices.Equal(got, want) || !o.ports[2].client {
		t.Errorf("ports %v, want %v", got, want)
	}
	if o.bind {
		t.Error("binds drivers without being asked or being init")
	}
	if o, err = parseFlags([]string{"--vvu=00:05.0", "--nic=00:04.0"}, true, os.Stderr); err != nil || !o.bind {
		t.Errorf("as init functions must be bound: %v", err)
	}
}

func TestHugePages(t *testing.T) {
	for want, args := range map[int][]string{
		4: {"--vhost-user=/a", "--vhost-user=/b"}, 16: {"--vvu=00:05.0", "--nic=00:04.0"}, 28: {"--nic=00:05.0", "--port=virtio-net:00:04.0"},
		0: {"--vvu=00:05.0", "--nic=00:04.0", "--hugepages=0"}, 7: {"--vvu=00:05.0", "--nic=00:04.0", "--hugepages", "7"},
	} {
		if o, err := parseFlags(args, true, os.Stderr); err != nil || o.hugePages != want {
			t.Errorf("%v: %v, want %d huge pages", args, err, want)
		}
	}
}

func TestSwitchPorts(t *testing.T) {
	o, err := parseFlags([]string{"--switch", "--isolate", "--nic", "00:04.0", "--vvu=00:05.0,mac=52:54:00:00:00:01",
		"--port", "vhost-user:/b.sock,mac=52:54:00:00:00:02,client", "--mac-age=20s", "--mac-limit=9"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []portSpec{{kind: "nic"}, {isolated: true}, {isolated: true, client: true}} {
		p := o.ports[i]
		if p.isolated != want.isolated || p.client != want.client || p.uplink() != want.uplink() || (p.mac == nil) != p.uplink() {
			t.Errorf("port %d is %+v", i, p)
		}
	}
	if o.ports[2].mac.String() != "52:54:00:00:00:02" || o.macAge != 20*time.Second || o.macLimit != 9 || len(o.loopCPUs(1)) != 1 {
		t.Errorf("parsed %+v", o)
	}
	if o, err = parseFlags([]string{"--switch", "--vhost-user=/a,isolate", "--vhost-user=/b,isolate", "--vhost-user=/c"}, false, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if !o.ports[0].isolated || !o.ports[1].isolated || o.ports[2].isolated {
		t.Errorf("parsed %+v", o.ports)
	}
}

func TestRelativeSocketsBecomeAbsolute(t *testing.T) {
	o, err := parseFlags([]string{"--vhost-user", "a.sock", "--vhost-user", "b.sock"}, false, os.Stderr)
	if err != nil || !filepath.IsAbs(o.ports[0].path) {
		t.Errorf("%v, %v", o, err)
	}
}

func TestParseCPUs(t *testing.T) {
	for in, want := range map[string][]int{"1": {1}, "1,3": {1, 3}, "0-2,5": {0, 1, 2, 5}} {
		if got, err := parseCPUs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "-1", "2-1", "1,", "0-9999", "1-"} {
		if got, err := parseCPUs(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}
