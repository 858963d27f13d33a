package keeper

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/peerfd"
)

// TestGivesBack: the keeper gives a function back to the driver that it had, once the device is closed, for
// a vvufwd that says so, and for one that ends before it has taken over; not for one that is killed later. What fails
// Close returns, or that the keeper has ended too early.
func TestGivesBack(t *testing.T) {
	for _, test := range []struct {
		how              string
		takeOver, asks   bool
		change           func(m *machine)
		written, failure string
		left             bool // it has left vfio-pci
	}{
		{how: "ends early", written: "what it was\n"},
		{how: "is killed", takeOver: true},
		{how: "ends", takeOver: true, asks: true, written: "what it was\n"},
		{how: "ends without having taken over", asks: true, written: "what it was\n"},
		{how: "cannot", takeOver: true, asks: true, change: func(m *machine) { os.Remove(filepath.Join(m.dir(), "driver_override")) },
			failure: "return ffff:fe:1f.0 to its driver: "},
		{how: "finds it unbound", takeOver: true, asks: true, change: func(m *machine) { m.driver("") }, left: true},
		{how: "finds it bound again", takeOver: true, asks: true, change: func(m *machine) { m.driver("vfio-pci") }, left: true},
		{how: "finds it with another driver", takeOver: true, asks: true, change: func(m *machine) { m.driver("e1000e") }, left: true},
		{how: "finds it unplugged", takeOver: true, asks: true, change: func(m *machine) { m.unplug() }},
	} {
		m := &machine{t: t, root: t.TempDir()}
		m.plug("vfio-pci")
		m.canBind()
		device, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		h := newHold(function, vfio.Held{Devices: map[pci.Address]int{function: fd}})
		h.stopDMA = func(int) error {
			if m.written("driver_override") != "" {
				t.Error("the function is given back before the device is closed")
			}
			if test.change != nil {
				test.change(m)
			}
			return nil
		}
		w := newWatcher(function, pci.Sysfs{Root: m.root}, m, true)
		w.before = pci.Binding{Function: function, Changed: true, Override: "what it was"}
		k, conn := keeperAt(t)
		attended := make(chan error, 1)
		go func() {
			attended <- attend([]*ward{{conn, w, h}})
		}()
		if test.takeOver {
			k.TakeOver()
		}
		if test.asks {
			k.GiveBack()
		}
		err = k.Close()
		if test.failure == "" && err != nil || test.failure != "" && (err == nil || !strings.Contains(err.Error(), test.failure)) {
			t.Errorf("vvufwd %s: %v, want %q", test.how, err, test.failure)
		}
		if err := <-attended; err != nil {
			t.Errorf("vvufwd %s: the keeper says %v", test.how, err)
		}
		if test.change == nil || test.left {
			if got := m.written("driver_override"); got != test.written || h.fd >= 0 {
				t.Errorf("vvufwd %s: %q is written, want %q; holds %d", test.how, got, test.written, h.fd)
			}
		}
	}
}

// TestSaysWhatStaysBound: of a keeper that was killed vvufwd, executed again, knows what it would have given back.
func TestSaysWhatStaysBound(t *testing.T) {
	for _, bound := range []bool{false, true} {
		k, conn := keeperAt(t)
		k.lines[function].bound = bound
		files := map[string]*os.File{}
		if err := k.Hand(files); err != nil {
			t.Fatal(err)
		}
		next, err := inherit([]pci.Address{function}, func(name string) (*net.UnixConn, error) {
			f := files[name]
			if delete(files, name); f == nil {
				return nil, nil
			}
			return beside.LineOf(f)
		})
		if err != nil || next == nil || len(files) > 0 {
			t.Fatalf("%v, %v, %v is left", next, err, files)
		}
		conn.Close()
		next.GiveBack()
		if err := next.Close(); bound && (err == nil || !strings.Contains(err.Error(), "ffff:fe:1f.0 stays bound to vfio-pci")) || !bound && err != nil {
			t.Errorf("bound %t: %v", bound, err)
		}
		k.lines[function].conn.Close()
	}
}

// TestTellsWhatItBinds: what the keeper has bound itself vvufwd learns, and that it need not be given back when it has
// left vfio-pci since.
func TestTellsWhatItBinds(t *testing.T) {
	for _, changed := range []bool{true, false} {
		m := &machine{t: t, root: t.TempDir()}
		m.plug("vfio-pci")
		w := newWatcher(function, pci.Sysfs{Root: m.root}, openFunc(func() (vfio.Files, error) {
			fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
			return vfio.Files{Mode: vfio.IOMMUFD, GroupFD: -1, DeviceFD: fd}, err
		}), true)
		w.pause, w.retry, w.before = 0, 0, pci.Binding{Function: function, Changed: changed}
		k, conn := keeperAt(t)
		k.lines[function].bound = !changed
		attended := make(chan error, 1)
		go func() { attended <- attend([]*ward{{conn, w, newHold(function, vfio.Held{})}}) }()
		files, err := k.Again(t.Context(), function)
		if err = errors.Join(err, files.Close()); err != nil {
			t.Error(err)
		}
		if got := k.lines[function].bound; got != changed {
			t.Errorf("vvufwd knows %t, want %t", got, changed)
		}
		k.TakeOver() // and so leaves it bound
		if err := errors.Join(k.Close(), <-attended); err != nil {
			t.Error(err)
		}
	}
}

// TestGivesBackTogether: nothing is given back while there is a line left, and then all.
func TestGivesBackTogether(t *testing.T) {
	functions := []pci.Address{function, {Domain: 0xffff, Bus: 0xfe, Device: 30}, {Domain: 0xffff, Bus: 0xfe, Device: 29}}
	m := &machine{t: t, root: t.TempDir()}
	k, wards := &Keeper{lines: map[pci.Address]*line{}}, []*ward(nil)
	probe := filepath.Join(m.root, "bus/pci/drivers_probe")
	for _, f := range functions {
		m.of = f
		m.plug("vfio-pci")
		m.canBind()
		one, conn := keeperAt(t)
		k.lines[f] = one.lines[function]
		w := newWatcher(f, pci.Sysfs{Root: m.root}, m, true)
		w.before = pci.Binding{Function: f, Changed: true}
		wards = append(wards, &ward{conn, w, newHold(f, vfio.Held{})})
	}
	if err := errors.Join(os.Remove(probe), unix.Mkfifo(probe, 0o600)); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(probe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	attended := make(chan error, 1)
	go func() { attended <- attend(wards) }()
	k.TakeOver()
	k.GiveBack()
	for _, f := range functions[1:] { // as one does that was taken over
		if err := k.lines[f].conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	_ = pipe.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	text := make([]byte, 3*len(function.String()))
	if n, err := pipe.Read(text); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s is given back with a line left, %v", text[:n], err)
	}
	if err := errors.Join(k.Close(), <-attended); err != nil {
		t.Error(err)
	}
	_ = pipe.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = io.ReadFull(pipe, text)
	for _, f := range functions {
		if err != nil || !strings.Contains(string(text), f.String()) {
			t.Errorf("%s, %v, without %v", text, err, f)
		}
	}
}

// TestGivesBackWhileItWaits: who asks for a device that does not come back, and then that it be given back, is heard.
func TestGivesBackWhileItWaits(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("")
	m.canBind()
	drivers := filepath.Join(m.root, "bus/pci/drivers/vfio-pci")
	tried := make(chan struct{}, 1000)
	w := newWatcher(function, pci.Sysfs{Root: m.root}, openFunc(func() (vfio.Files, error) {
		tried <- struct{}{}
		return vfio.Files{}, errors.New("on purpose")
	}), true)
	w.pause, w.known = 10*time.Millisecond, w.known+1 // it is a new one
	go func() {                                       // the kernel binds it
		for text := ""; text != "vfio-pci\n"; time.Sleep(time.Millisecond) {
			b, _ := os.ReadFile(filepath.Join(m.dir(), "driver_override"))
			text = string(b)
		}
		_ = os.Symlink(drivers, filepath.Join(m.dir(), "driver"))
	}()
	k, conn := keeperAt(t)
	attended := make(chan error, 1)
	go func() {
		attended <- attend([]*ward{{conn, w, newHold(function, vfio.Held{})}})
	}()
	k.TakeOver()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	go func() {
		<-tried
		cancel()
	}()
	if _, err := k.Await(ctx, function); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	k.GiveBack()
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if err := <-attended; err != nil {
		t.Error(err)
	}
	if got := m.written("driver_override"); got != "\n" {
		t.Errorf("%q is written", got)
	}
}

// TestCloseReadsAll: what was said of one function is read though another one uses up the time.
func TestCloseReadsAll(t *testing.T) {
	k, conn := keeperAt(t)
	stuck, other := keeperAt(t)
	defer other.Close()
	name := pci.Address{Domain: 0xffff, Bus: 0xfe, Device: 30}
	k.lines[name] = stuck.lines[function]
	k.GiveBack()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(failure(answerEnd, errors.New("on purpose"))); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	err := k.closeWithin(200 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "on purpose") || strings.Count(err.Error(), "has not let go") != 1 {
		t.Errorf("%v", err)
	}
}

// TestHearsWhoDoesNotListen: who asks that a function be given back is heard though an answer to what it asked
// before does not reach it.
func TestHearsWhoDoesNotListen(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("vfio-pci")
	m.canBind()
	opened := make(chan struct{})
	w := newWatcher(function, pci.Sysfs{Root: m.root}, openFunc(func() (vfio.Files, error) {
		defer close(opened)
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return vfio.Files{Mode: vfio.IOMMUFD, GroupFD: -1, DeviceFD: fd}, err
	}), true)
	w.pause, w.retry, w.left, w.before = 0, 0, true, pci.Binding{Function: function, Changed: true, Override: "what it was"}
	k, conn := keeperAt(t)
	ours := k.lines[function].conn
	if err := ours.CloseRead(); err != nil {
		t.Fatal(err)
	}
	for _, request := range []byte{requestTakeOver, requestAgain, requestGiveBack} {
		if _, err := ours.Write([]byte{request}); err != nil {
			t.Fatal(err)
		}
	}
	attended := make(chan error, 1)
	go func() { attended <- attend([]*ward{{conn, w, newHold(function, vfio.Held{})}}) }()
	<-opened
	ours.Close()
	if err := <-attended; !errors.Is(err, unix.EPIPE) {
		t.Errorf("the answer has gone: %v", err)
	}
	if got := m.written("driver_override"); got != "what it was\n" {
		t.Errorf("%q is written", got)
	}
}

// keeperAt is vvufwd's side of a line, and the other one.
func keeperAt(t *testing.T) (*Keeper, *net.UnixConn) {
	t.Helper()
	ours, theirs, err := beside.NewLine()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := beside.LineOf(theirs)
	if err != nil {
		t.Fatal(err)
	}
	return &Keeper{lines: map[pci.Address]*line{function: {conn: ours}}}, conn
}

// TestCloseLetsGoOfWhatNoOneRead: a device that is in a line is open until that is read, and the keeper ends no
// line before it could give the device's function back.
func TestCloseLetsGoOfWhatNoOneRead(t *testing.T) {
	k, conn := keeperAt(t)
	others := []*net.UnixConn{conn}
	for i := range 7 {
		one, conn := keeperAt(t)
		k.lines[pci.Address{Domain: 0xffff, Bus: 0xfe, Device: uint8(i)}] = one.lines[function]
		others = append(others, conn)
	}
	released, device, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text, fds := answer(vfio.Files{Mode: vfio.IOMMUFD, GroupFD: -1, DeviceFD: int(device.Fd())}, nil)
	if err := errors.Join(peerfd.Send(conn, text, fds...), device.Close()); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = released.Read(make([]byte, 1)) // ends when no one has the device any more
		for _, conn := range others {
			conn.Close()
		}
	}()
	if err := k.closeWithin(time.Minute); err != nil {
		t.Error(err)
	}
}
