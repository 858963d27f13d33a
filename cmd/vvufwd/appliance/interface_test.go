package appliance

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// newInterfaceMachine has an interface eth0, by another name wan, once it was looked for so many times.
func newInterfaceMachine(t *testing.T, looks int) *testMachine {
	m := newTestMachine(t, map[string]string{"proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n"})
	m.findInterface = func(name string) (string, error) {
		if looks--; looks >= 0 || name != "wan" {
			return "", fmt.Errorf("interface %s %w: there are lo", name, netdev.ErrNotThere)
		}
		return "eth0", nil
	}
	m.setUp = func(name string, mtu int) error {
		m.calls = append(m.calls, fmt.Sprintf("up %s mtu %d", name, mtu))
		return m.loadErr[name]
	}
	return m
}

func running() bool { return false }

func TestInterfaceComesLate(t *testing.T) {
	m := newInterfaceMachine(t, 3)
	if err := m.setInterfaceUp("wan", 9000, running); err != nil {
		t.Fatal(err)
	}
	if m.slept != 3*interfacePoll || len(m.calls) != 1 || m.calls[0] != "up eth0 mtu 9000" {
		t.Errorf("slept %v, calls %q", m.slept, m.calls)
	}
	if got := m.read("proc/sys/net/ipv6/conf/all/disable_ipv6"); got != "1\n" {
		t.Errorf("disable_ipv6 is %q", got)
	}
}

// An interface that never comes is not waited for forever, nor when vvufwd is to stop.
func TestInterfaceNeverComes(t *testing.T) {
	m := newInterfaceMachine(t, 0)
	err := m.setInterfaceUp("eth7", 0, running)
	if !errors.Is(err, netdev.ErrNotThere) || !strings.Contains(err.Error(), "--modules") || m.slept != interfaceTimeout || m.calls != nil {
		t.Errorf("%v after %v, calls %q", err, m.slept, m.calls)
	}
	m = newInterfaceMachine(t, 0)
	if err := m.setInterfaceUp("eth7", 0, func() bool { return m.slept > 0 }); err == nil || m.slept != interfacePoll {
		t.Errorf("%v after %v, although it was to stop", err, m.slept)
	}
}

func TestInterfaceLacksFirmware(t *testing.T) {
	m := newInterfaceMachine(t, 0)
	m.loadErr["eth0"] = unix.ENOENT
	if err := m.setInterfaceUp("wan", 0, running); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "/lib/firmware") {
		t.Error(err)
	}
}
