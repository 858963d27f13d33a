package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// network is interfaces that are connected with each other, in the network namespace of this
// process.
type network interface {
	// interfaces are their names.
	interfaces() []string
	// join connects them, once the forwarder has them.
	join(ctx context.Context) error
	close() error
}

// connect makes a network of interfaces of a kind, see plan.Case; of none if it is empty.
func connect(kind string) (network, error) {
	switch kind {
	case "":
		return noNetwork{}, nil
	case "tap":
		return bridge{}, nil
	}
	return newCable()
}

// noNetwork is that of sockets.
type noNetwork struct{}

func (noNetwork) interfaces() []string       { return nil }
func (noNetwork) join(context.Context) error { return nil }
func (noNetwork) close() error               { return nil }

// Names of the interfaces, and their MTU: frames of 1518 bytes are no jumbo frames, but more than
// an MTU of 1500 lets through.
const (
	first, second = "vvub0", "vvub1"
	bridgeName    = "vvubridge"
	mtu           = "mtu 2000"
)

var names = []string{first, second}

// cable is a veth pair.
type cable struct{}

func newCable() (network, error) {
	if err := ip("link add", first, mtu, "type veth peer name", second, mtu); err != nil {
		return nil, err
	}
	c := cable{}
	for _, name := range names {
		if err := up(name); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (cable) interfaces() []string       { return names }
func (cable) join(context.Context) error { return nil }
func (cable) close() error               { return ip("link del", first) }

// bridge joins TAP devices, which forwarders make and take away themselves. It learns nothing:
// a frame that comes in at one goes out at the other.
type bridge struct{}

func (bridge) interfaces() []string { return names }

// made is how long a forwarder may take to make its devices.
const made = 10 * time.Second

func (bridge) join(ctx context.Context) error {
	if err := ip("link add", bridgeName, mtu, "type bridge ageing_time 0 mcast_snooping 0"); err != nil {
		return err
	}
	for _, name := range names {
		for deadline := time.Now().Add(made); ; time.Sleep(time.Millisecond) {
			_, err := net.InterfaceByName(name)
			if err == nil {
				break
			}
			if ctx.Err() != nil || time.Now().After(deadline) {
				return fmt.Errorf("the forwarder has not made its TAP device: %w", err)
			}
		}
		if err := ip("link set", name, mtu, "master", bridgeName); err != nil {
			return err
		}
		if err := up(name); err != nil {
			return err
		}
	}
	return up(bridgeName)
}

func (bridge) close() error {
	if _, err := net.InterfaceByName(bridgeName); err != nil {
		return nil
	}
	return ip("link del", bridgeName)
}

// up sets an interface up that says nothing by itself.
func up(name string) error {
	// Without IPv6 in the kernel there is no such file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	return ip("link set", name, "up")
}

// ip runs the program ip with these words.
func ip(words ...string) error {
	args := strings.Fields(strings.Join(words, " "))
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
