package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/zap"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/peerfd"
)

// TestMain is the keeper when Start runs the test program once more.
func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) != "" && !IsKeeper() {
		own()
	}
	if IsKeeper() {
		switch os.Getenv(startEnv) {
		case "is killed":
			unix.Kill(os.Getpid(), unix.SIGKILL)
		case "fails":
			unix.Write(beside.FirstFD, failure(answerReady, errors.New("on purpose")))
			os.Exit(1)
		}
		if err := run(zap.NewNop(), stopSocket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startEnv says how a keeper fails to start.
const startEnv = "KEEPER_TEST_START"

var function = pci.Address{Domain: 0xffff, Bus: 0xfe, Device: 31} // not in this machine

// TestKeeperWaits starts a keeper, confined and not, for a function that never comes back,
// and gives waiting up; then it ends the keeper.
func TestKeeperWaits(t *testing.T) {
	for _, confined := range []bool{false, true} {
		if _, err := os.Stat("/dev/vfio"); confined && err != nil {
			t.Log("this machine has no VFIO: the confined keeper is tested in virtual machines")
			continue
		}
		container, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		k, err := Start(Config{Functions: []pci.Address{function}, Shared: vfio.Shared{Container: int(container.Fd()), Bare: -1}, Confine: confined})
		container.Close()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := k.Await(ctx, function); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting ended with %v", err)
			}
			cancel()
		}
		if _, err := k.Await(t.Context(), pci.Address{}); !errors.Is(err, ErrNoKeeper) {
			t.Errorf("a function that the keeper is not for: %v", err)
		}
		pid := k.process.Pid
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
			t.Errorf("the keeper ended with %v, %v", status, err)
		}
	}
	var none *Keeper
	if _, err := none.Await(t.Context(), function); !errors.Is(err, ErrNoKeeper) {
		t.Errorf("without a keeper: %v", err)
	}
}

// TestKeeperDies: the error says what to do.
func TestKeeperDies(t *testing.T) {
	container, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Start(Config{Functions: []pci.Address{function}, Shared: vfio.Shared{Container: int(container.Fd()), Bare: -1}})
	container.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	got := make(chan error, 1)
	go func() {
		_, err := k.Await(t.Context(), function)
		got <- err
	}()
	unix.Kill(k.process.Pid, unix.SIGKILL)
	if err := <-got; !errors.Is(err, ErrNoKeeper) {
		t.Errorf("got %v", err)
	}
	unix.Wait4(k.process.Pid, nil, 0, nil)
}

// TestStartFails: who starts a keeper that cannot begin, or does not live to, hears of that, and why.
func TestStartFails(t *testing.T) {
	container, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer container.Close()
	for how, want := range map[string]string{"is killed": errEndedEarly.Error(), "fails": "on purpose"} {
		t.Setenv(startEnv, how)
		k, err := Start(Config{Functions: []pci.Address{function}, Shared: vfio.Shared{Container: int(container.Fd()), Bare: -1}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a keeper that %s: %v", how, err)
		}
		if k != nil {
			t.Errorf("a keeper that %s is there", how)
			k.Close()
		}
	}
	t.Setenv(startEnv, "")
	cfg := Config{Functions: []pci.Address{{Device: 0xff}}, Shared: vfio.Shared{Container: -1, Bare: -1}} // there is no such device
	if k, err := Start(cfg); err == nil || !strings.Contains(err.Error(), cfg.Functions[0].String()) {
		t.Errorf("a keeper that is told nonsense: %v", err)
		k.Close()
	}
}

// TestNotReady: waiting for a keeper that hangs ends.
func TestNotReady(t *testing.T) {
	k, conn := keeperAt(t)
	defer conn.Close()
	l := k.lines[function]
	if err := l.awaitReady(time.Now().Add(10 * time.Millisecond)); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("one that says nothing: %v", err)
	}
	for text, want := range map[string]string{"k": "", "kwhat is wrong": "what is wrong", "f": `"f"`} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := l.awaitReady(time.Now().Add(time.Minute)); err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	k.abandon()
}

func TestConfig(t *testing.T) {
	want := Config{Functions: []pci.Address{{Device: 5}, {Bus: 1, Device: 4, Function: 1}}, Bind: true, Shared: vfio.Shared{Container: -1, Bare: 3, IOMMUFD: true},
		Held:     vfio.Held{Memory: 5, Devices: map[pci.Address]int{{Device: 5}: 6, {Bus: 1, Device: 4, Function: 1}: 7}},
		Bindings: []pci.Binding{{Function: pci.Address{Device: 5}, Changed: true, Driver: "e1000e"}, {Function: pci.Address{Device: 6}, Changed: true, Driver: "a, b", Override: "two words"}}}
	got, err := decode(want.encode())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := decode("bind=true 1:2:3:4"); err == nil {
		t.Error("a function that is none was accepted")
	}
	if _, err := decode("held=3,x"); err == nil {
		t.Error("a held function that is none was accepted")
	}
	if _, err := decode("bound=x,e1000e,"); err == nil {
		t.Error("a bound function that is none was accepted")
	}
	if _, err := decode("bound=0000:00:05.0,%,"); err == nil {
		t.Error("a driver that is none was accepted")
	}
	if _, err := decode("container=x"); err == nil {
		t.Error("a descriptor that is none was accepted")
	}
}

func TestAnswers(t *testing.T) {
	text, _ := answer(vfio.Files{}, errors.New(strings.Repeat("x", 5000)))
	if _, err := parseAnswer(text, nil); err == nil || len(err.Error()) > maxAnswer {
		t.Errorf("a long error became %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	text, fds := answer(vfio.Files{Group: 77, GroupFD: int(null.Fd()), DeviceFD: int(null.Fd())}, nil)
	if files, err := parseAnswer(text, fds); err != nil || files.Group != 77 || files.DeviceFD != int(null.Fd()) {
		t.Errorf("got %+v, %v", files, err)
	}
	dup, err := unix.Dup(int(null.Fd()))
	null.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseAnswer(text, []int{dup}); err == nil {
		t.Error("an answer with one descriptor was accepted")
	}
	if err := unix.Close(dup); err != unix.EBADF {
		t.Errorf("a descriptor of a bad answer is not closed: %v", err)
	}
}

// machine is a sysfs with one function, and the opener of its files.
type machine struct {
	t      *testing.T
	root   string
	opened int
	fail   error
	of     pci.Address // the function, if it is not the one
}

func (m *machine) dir() string {
	name := m.of
	if name == (pci.Address{}) {
		name = function
	}
	return filepath.Join(m.root, "bus/pci/devices", name.String())
}

func (m *machine) plug(driver string) {
	m.t.Helper()
	if err := os.MkdirAll(m.dir(), 0o755); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"vendor": "0x1af4", "device": "0x1041", "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100", "class": "0x020000",
	} {
		if err := os.WriteFile(filepath.Join(m.dir(), name), []byte(text), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	m.driver(driver)
}

func (m *machine) driver(name string) {
	m.t.Helper()
	link := filepath.Join(m.dir(), "driver")
	if name == "" {
		os.Remove(link)
		return
	}
	// As in sysfs the next link has not the number of the one before it.
	if err := errors.Join(os.Symlink(filepath.Join(m.root, "bus/pci/drivers", name), link+".new"), os.Rename(link+".new", link)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) unplug() { os.RemoveAll(m.dir()) }

func (m *machine) OpenFiles(pci.Address) (vfio.Files, error) {
	if m.fail != nil {
		return vfio.Files{}, m.fail
	}
	m.opened++
	return vfio.Files{Group: m.opened}, nil
}

// TestWatcher says when a function counts as back: when it was plugged in again, or was bound
// to vfio-pci again after it had been unbound. Never while the kernel is still taking it
// away, nor because it lies about without a driver.
func TestWatcher(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("vfio-pci")
	w := newWatcher(function, pci.Sysfs{Root: m.root}, m, false)
	w.pause = 0
	rounds := func(n int) func() bool { return func() bool { n--; return n < 0 } }
	again := false
	awaits := func(what string, want error) {
		t.Helper()
		files, err := w.await(rounds(20), again)
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		if err == nil && files.Group != m.opened {
			t.Fatalf("%s: got %+v", what, files)
		}
	}
	awaits("still there", errEnded)
	m.driver("")
	awaits("unbound", errEnded)
	m.driver("e1000e")
	awaits("bound to another driver", errEnded)
	m.driver("vfio-pci")
	awaits("bound again", nil)
	awaits("taken, and still there", errEnded)
	m.driver("vfio-pci")
	awaits("unbound, and bound again between two looks", nil)
	awaits("taken once more, and still there", errEnded)
	m.unplug()
	awaits("unplugged", errEnded)
	m.plug("")
	awaits("plugged in, no one binds it", errEnded)
	m.driver("vfio-pci")
	awaits("plugged in and bound", nil)
	again, w.retry = true, time.Hour
	awaits("asked for again a moment ago", errEnded)
	w.retry = 0
	awaits("asked for again, and still there", nil)
	m.driver("")
	awaits("asked for again, and unbound", errEnded)
	m.driver("vfio-pci")
	again = false
	awaits("bound by hand", nil)
	m.unplug()
	filler := filepath.Join(m.root, "inode") // so that the new one does not get the number of the old
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.plug("vfio-pci")
	if again, _ := w.sysfs.Identity(function); again != w.known {
		awaits("plugged in again between two looks", nil)
	}
}

// TestAgain: who could not use a function that is back gets it once more, though nothing was
// unplugged. A request that is none has no answer, and does not keep the line.
func TestAgain(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("vfio-pci")
	opened := 0
	w := newWatcher(function, pci.Sysfs{Root: m.root}, openFunc(func() (vfio.Files, error) {
		opened++
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return vfio.Files{Mode: vfio.IOMMUFD, Group: opened, GroupFD: -1, DeviceFD: fd}, err
	}), false)
	w.pause, w.retry, w.left = 0, 0, true
	k, conn := keeperAt(t)
	ours := k.lines[function].conn
	defer conn.Close()
	served := make(chan error, 1)
	go func() { served <- serve(conn, w, newHold(function, vfio.Held{})) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, get := range []func(context.Context, pci.Address) (vfio.Files, error){k.Await, k.Again, k.Again} {
		files, err := get(ctx, function)
		if err != nil || files.Group != i+1 {
			t.Fatalf("request %d: got %+v, %v", i, files, err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
		if _, err := ours.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
	}
	ours.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

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

// TestForgetsTheFormerDriver: what has left vfio-pci is not given back to the driver that it had before that.
func TestForgetsTheFormerDriver(t *testing.T) {
	for what, leave := range map[string]func(m *machine){
		"unbound":               func(m *machine) { m.driver("") },
		"unbound and bound":     func(m *machine) { m.driver("vfio-pci") },
		"unplugged":             func(m *machine) { m.unplug() },
		"it is where it was":    nil,
		"bound to another, e1k": func(m *machine) { m.driver("e1000e") },
	} {
		m := &machine{t: t, root: t.TempDir()}
		m.plug("vfio-pci")
		w := newWatcher(function, pci.Sysfs{Root: m.root}, m, true)
		w.pause, w.before = 0, pci.Binding{Function: function, Changed: true}
		if leave != nil {
			leave(m)
		}
		n := 3
		_, _ = w.await(func() bool { n--; return n < 0 }, false)
		if w.before.Changed != (leave == nil) {
			t.Errorf("%s: %+v is to be undone", what, w.before)
		}
	}
}

// TestPolicy: only a keeper that binds functions writes to sysfs.
func TestPolicy(t *testing.T) {
	sysfs := pci.Sysfs{Root: t.TempDir()}
	bound := []pci.Binding{{Function: function, Changed: true}}
	for _, test := range []struct {
		cfg  Config
		want int // directories
	}{
		{Config{Functions: []pci.Address{function}}, 1},
		{Config{Functions: []pci.Address{function}, Bind: true}, 3},
		{Config{Functions: []pci.Address{function}, Bindings: bound}, 3},
	} {
		if p := test.cfg.policy(sysfs); len(p.OpenVFIO) != test.want || p.OpenVFIO[0] != "/dev/vfio" || slices.Contains(p.OpenVFIO, sysfs.Root) {
			t.Errorf("%+v: %v, want %d", test.cfg, p.OpenVFIO, test.want)
		}
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

// canBind makes the files that binding writes to.
func (m *machine) canBind() {
	m.t.Helper()
	drivers := filepath.Join(m.root, "bus/pci/drivers/vfio-pci")
	for _, path := range []string{filepath.Join(m.dir(), "driver_override"), filepath.Join(m.root, "bus/pci/drivers_probe"), filepath.Join(drivers, "unbind")} {
		if err := errors.Join(os.MkdirAll(drivers, 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// written is what was written to an attribute of the function.
func (m *machine) written(attribute string) string {
	text, err := os.ReadFile(filepath.Join(m.dir(), attribute))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
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
