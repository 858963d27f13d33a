package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// In the tests a device is a socket: to stop it is to say so, and takes until the test answers.
// Memory is the end of a pipe, whose other end shows when no one has it any more.

// stopSocket stands in for vfio.StopDMA, in a keeper that a test has started.
func stopSocket(fd int) error {
	answer := make([]byte, 1)
	_, err := unix.Write(fd, []byte("stop"))
	if err == nil {
		_, err = unix.Read(fd, answer)
	}
	return err
}

// ownerEnv marks the process that is vvufwd, for a test that kills it.
const ownerEnv = "KEEPER_TEST_OWNER"

var held = []pci.Address{function, {Domain: 0xffff, Bus: 0xfe, Device: 30}}

// own is that process: it has a keeper for files that it was started with.
func own() {
	for fd := 3; fd < 6; fd++ {
		unix.CloseOnExec(fd)
	}
	_, err := Start(Config{
		Functions: held, Shared: vfio.Shared{Container: -1, Bare: -1},
		Held: vfio.Held{Memory: 3, Devices: map[pci.Address]int{held[0]: 4, held[1]: 5}},
	})
	fmt.Println("started", err)
	select {}
}

// device is a socket whose other end is given to someone.
func device(t *testing.T) (ours *net.UnixConn, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "device")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "device")
}

// stops waits until the device is being stopped.
func stops(t *testing.T, device io.Reader) {
	t.Helper()
	word := make([]byte, 4)
	if _, err := io.ReadFull(device, word); err != nil || string(word) != "stop" {
		t.Fatalf("the device is not stopped: %q, %v", word, err)
	}
}

// lasts checks that someone has the other end of a pipe.
func lasts(t *testing.T, memory *os.File, when string) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(memory.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("the memory has gone %s: %d, %v", when, n, err)
	}
}

// TestKilled kills a process that uses devices without an IOMMU. Its memory lasts until each of
// them was stopped and closed.
func TestKilled(t *testing.T) {
	memory, theirMemory, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	first, theirFirst := device(t)
	second, theirSecond := device(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirMemory, theirFirst, theirSecond}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "started <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	lasts(t, memory, "with a process that uses it")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Not cmd.Wait, which waits for the keeper too: it has the same output.
	if _, err := cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, device := range []net.Conn{first, second} {
		stops(t, device)
		lasts(t, memory, "before the device was stopped")
		if _, err := device.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := device.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a device that was stopped is not closed: %v", err)
		}
	}
	if _, err := memory.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the memory is kept: %v", err)
	}
}

// TestCloseWaits: a function that is held cannot be given back, so Close waits.
func TestCloseWaits(t *testing.T) {
	memory, theirMemory, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	conn, theirs := device(t)
	k, err := Start(Config{
		Functions: held[:1], Shared: vfio.Shared{Container: -1, Bare: -1},
		Held: vfio.Held{Memory: int(theirMemory.Fd()), Devices: map[pci.Address]int{held[0]: int(theirs.Fd())}},
	})
	theirMemory.Close()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	pid := k.process.Pid
	go func() { closed <- k.Close() }()
	stops(t, conn)
	select {
	case err := <-closed:
		t.Errorf("closed before the device was let go: %v", err)
	default:
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("closed, and the device is still open: %v", err)
	}
	unix.Wait4(pid, nil, 0, nil)
}

// TestHoldFollowsTheDevice: who waits for a device that was taken away is not kept from it, and
// the one that comes is held, unless an IOMMU confines it.
func TestHoldFollowsTheDevice(t *testing.T) {
	for _, mode := range []vfio.Mode{vfio.NoIOMMU, vfio.Type1} {
		open := func() int {
			fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
		var stopped []int
		h := newHold(function, vfio.Held{Devices: map[pci.Address]int{function: open()}})
		h.stopDMA = func(fd int) error { stopped = append(stopped, fd); return nil }
		was, next := h.fd, vfio.Files{Mode: mode, Group: 1, GroupFD: open(), DeviceFD: open()}
		ours, theirs, err := beside.NewLine()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.FileConn(theirs)
		theirs.Close()
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{t: t, root: t.TempDir()}
		m.plug("vfio-pci")
		w := &watcher{function: function, sysfs: pci.Sysfs{Root: m.root}, left: true, opener: openFunc(func() (vfio.Files, error) {
			if len(stopped) != 1 || stopped[0] != was || h.fd != -1 {
				t.Errorf("the old device is not let go: stopped %d, holds %d", stopped, h.fd)
			}
			return next, nil
		})}
		served := make(chan error, 1)
		go func() { served <- serve(conn.(*net.UnixConn), w, h) }()
		files, err := (&line{conn: ours}).ask(requestAwait)
		if err != nil {
			t.Fatal(err)
		}
		ours.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if want := map[vfio.Mode]int{vfio.NoIOMMU: next.DeviceFD, vfio.Type1: -1}[mode]; h.fd != want {
			t.Errorf("%v: %d is held, want %d", mode, h.fd, want)
		}
		if err := errors.Join(h.letGo(), files.Close()); err != nil {
			t.Error(err)
		}
		conn.Close()
		for _, fd := range []int{next.GroupFD, next.DeviceFD} {
			if name, err := os.Readlink(filepath.Join("/proc/self/fd", fmt.Sprint(fd))); err == nil && name == os.DevNull {
				t.Errorf("%v: descriptor %d is left", mode, fd)
			}
		}
	}
}

// openFunc opens the files of a function.
type openFunc func() (vfio.Files, error)

func (f openFunc) OpenFiles(pci.Address) (vfio.Files, error) { return f() }
