package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/zap"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
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
