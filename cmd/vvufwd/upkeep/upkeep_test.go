package upkeep

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

func TestMain(m *testing.M) {
	if IsUpkeep() {
		if err := Run(zap.Must(zap.NewDevelopment())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Interfaces are set up when they are new, once each, and again if that fails.
func TestNewInterfacesAreSetUp(t *testing.T) {
	there := map[string]int32{"a": 3}
	broken := errors.New("no firmware")
	var fails error
	var up []string
	i := &interfaces{
		all: []Interface{{Name: "a"}, {"b", 9000}}, index: map[string]int32{},
		ask: func(name string) (int32, error) {
			if there[name] == 0 {
				return 0, unix.ENODEV
			}
			return there[name], nil
		},
		setUp: func(i Interface) error { up = append(up, i.Name); return fails },
	}
	expect := func(wantErr error, want ...string) {
		t.Helper()
		up = nil
		if err := i.look(); !errors.Is(err, wantErr) || wantErr == nil && err != nil {
			t.Errorf("%v, want %v", err, wantErr)
		}
		if !slices.Equal(up, want) {
			t.Errorf("set up %q, want %q", up, want)
		}
	}
	expect(nil, "a")
	expect(nil)
	there["b"], there["a"] = 4, 5 // as a new one, without having been seen away
	expect(nil, "a", "b")
	delete(there, "a")
	expect(nil)
	there["a"] = 5 // in another namespace and back
	expect(nil, "a")
	there["b"], fails = 6, broken
	expect(broken, "b")
	expect(broken, "b")
	fails = unix.ENODEV // away again meanwhile
	expect(nil, "b")
}

// The process, with all but one capability gone, sets up what comes back, with the MTU that it is to have, leaves down what someone has set
// down, and ends when vvufwd does.
func TestProcess(t *testing.T) {
	netdevtest.Namespace(t)
	add := "link add v0 type veth peer name v1"
	netdevtest.IP(t, add)
	u, err := Start([]Interface{{"v0", 3000}}, true)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := netdev.Socket()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	isUp := func() bool {
		s, err := netdev.Query(socket, "v0")
		return err == nil && s.Up && s.MTU == 3000
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not so: %s", what)
			}
		}
	}
	for range 3 {
		await("up", isUp)
		netdevtest.IP(t, "link del v0")
		netdevtest.IP(t, add)
	}
	await("up", isUp)
	netdevtest.IP(t, "link set v0 down")
	time.Sleep(lookEach + lookEach/4) // it looks at least once
	if isUp() {
		t.Error("set up although someone has set it down")
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	await("ended", func() bool {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		return pid > 0 && err == nil
	})
}
