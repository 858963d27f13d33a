package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/clitest"
	"vvufwd/vvu/vfiouser/vfiousertest"
	"vvufwd/vvu/vhostuser"
)

// Scripts know two vvudevs: the one that tests are built with, and that may have the
// race detector, keeps its privileges; the other is built as it is shipped.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvudev": func() {
			os.Args = append(os.Args, "--no-confine")
			main()
		},
		"hold":   hold,
		"client": client,
		"lend":   lend,
		"ask":    ask,
	})
}

func TestScripts(t *testing.T) { play(t, "testdata/script", "") }

// TestConfined plays scripts with vvudev as it is shipped, which gives up its
// privileges.
func TestConfined(t *testing.T) {
	dir := clitest.Static(t, "vvudev")
	playConfined(t, dir)
	t.Run("starts", func(t *testing.T) { clitest.Starts(t, filepath.Join(dir, "vvudev"), start) })
}

// TestConfinedWithCgo is for who builds with "go build" where there is a C compiler.
func TestConfinedWithCgo(t *testing.T) { playConfined(t, clitest.WithCgo(t, "vvudev")) }

// start is a vvudev that a monitor connects to.
func start(dir string) clitest.Start {
	monitor := filepath.Join(dir, "m")
	ask := func() (func(), error) {
		c, err := vfiousertest.Dial(monitor)
		return func() { c.Close() }, err
	}
	args := []string{"--vfio-user", monitor, "--vhost-user", filepath.Join(dir, "a"), "--ram", filepath.Join(dir, "r"), "--create-ram=2M"}
	return clitest.Start{Args: args, Ask: ask}
}

// playConfined plays all scripts with the programs in a directory.
func playConfined(t *testing.T, programs string) {
	play(t, "testdata/script", programs)
	play(t, "testdata/confined", programs)
}

func play(t *testing.T, dir, programs string) {
	t.Helper()
	clitest.Play(t, dir, programs, map[string]func(*testscript.TestScript, bool, []string){
		"mode":    mode,
		"size":    fileSize,
		"json":    jsonLines,
		"oneline": oneLine,
		"term":    terminate,
	}, nil)
}

// hold listens on a socket until it is interrupted: hold PATH. With "stale" it leaves
// the socket behind at once, as a process that crashed does.
func hold() {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: os.Args[1], Net: "unix"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[2] == "stale" {
		l.SetUnlinkOnClose(false)
		l.Close()
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
}

// dial connects to the socket that a command of a script names. A socket is there a moment before anyone listens at it.
func dial[C any](how func(path string) (C, error)) (c C, err error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if c, err = how(os.Args[1]); !errors.Is(err, unix.ECONNREFUSED) || time.Now().After(deadline) {
			return c, err
		}
	}
}

// client plugs the device in and out again: client PATH.
func client() {
	c, err := dial(vfiousertest.Dial)
	if err == nil {
		err = c.Reset()
		c.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lend plugs the device in and lends it one page of each of some files, which have nothing in
// them: lend PATH SIZE….
func lend() {
	err := func() error {
		c, err := dial(vfiousertest.Dial)
		if err != nil {
			return err
		}
		defer c.Close()
		for i, text := range os.Args[2:] {
			var size cli.Size
			if err := size.Set(text); err != nil {
				return err
			}
			fd, err := unix.MemfdCreate("driver VM", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			if err := unix.Ftruncate(fd, int64(size)); err != nil {
				return err
			}
			if err := c.MapDMA(uint64(i)<<20, 4096, fd, 0); err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
		}
		return c.Reset()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ask asks a device for the address of its app VM's network device, as a monitor does: ask PATH.
func ask() {
	mac, err := func() (net.HardwareAddr, error) {
		c, err := dial(vhostuser.Dial)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.WriteMessage(vhostuser.NewRequest(vhostuser.GetConfig, vhostuser.Config{Data: make([]byte, 6)})); err != nil {
			return nil, err
		}
		m, err := c.ReadMessage()
		if err != nil {
			return nil, err
		}
		var got vhostuser.Config
		err = got.Decode(m.Payload)
		return got.Data, err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(mac)
}

// mode checks the permissions of a file: mode 600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// fileSize checks the size of a file: size BYTES FILE.
func fileSize(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprint(st.Size()); got != args[0] {
		ts.Fatalf("%s has %s bytes, want %s", args[1], got, args[0])
	}
}

// jsonLines checks that a file consists of JSON objects, one a line.
func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	for line := range bytes.Lines([]byte(ts.ReadFile(args[0]))) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
	}
}

// oneLine checks that a file has just one line.
func oneLine(ts *testscript.TestScript, _ bool, args []string) {
	if text := ts.ReadFile(args[0]); bytes.Count([]byte(text), []byte("\n")) != 1 {
		ts.Fatalf("want one line, got %q", text)
	}
}

// terminate sends SIGTERM to the program that was started last.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	running := ts.BackgroundCmds()
	ts.Check(running[len(running)-1].Process.Signal(unix.SIGTERM))
}
