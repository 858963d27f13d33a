package show

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/dhcp"
	"vvufwd/cmd/internal/lab/machine"
)

// tapLease is the network on a TAP device that the demo makes.
var tapLease = dhcp.Lease{Server: net.IPv4(10, 231, 77, 1), Client: net.IPv4(10, 231, 77, 15), Mask: net.CIDRMask(24, 32), Time: time.Hour}

// openTAP prepares the TAP device with the given name.
//
// A device that exists belongs to the person's own network: its address, or that of the bridge it is a port of, is the host as
// the app VM sees it, and that network must hand out addresses by DHCP. A device that does not exist is made, for which root is
// needed, gets an address and a DHCP server, and is removed at the end.
func openTAP(name string, queues, mtu int) (*network, error) {
	n := &network{backend: machine.Backend{TAP: name, Queues: queues}}
	address, err := addressOf(name)
	switch {
	case errors.Is(err, errNoDevice):
		if err := makeTAP(name, queues, mtu); err != nil {
			return nil, err
		}
		address = tapLease.Server
	case err != nil:
		return nil, err
	}
	n.listen, n.host = address.String(), address.String()
	if !address.Equal(tapLease.Server) {
		return n, nil
	}
	// Made by us: now, or by a run that was killed.
	server, err := dhcp.Listen(name, tapLease)
	if err != nil {
		return nil, errors.Join(err, ip("link", "delete", name))
	}
	n.stop = func() error { return errors.Join(server.Close(), ip("link", "delete", name)) }
	return n, nil
}

var errNoDevice = errors.New("no such network device")

// addressOf returns the IPv4 address of a network device or, if it has none, of the bridge it is a port of.
func addressOf(name string) (net.IP, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errNoDevice, name)
	}
	devices := []*net.Interface{device}
	if link, err := os.Readlink(filepath.Join("/sys/class/net", name, "master")); err == nil {
		if bridge, err := net.InterfaceByName(filepath.Base(link)); err == nil {
			devices = append(devices, bridge)
		}
	}
	for _, d := range devices {
		addresses, err := d.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", d.Name, err)
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.To4() != nil {
				return network.IP.To4(), nil
			}
		}
	}
	return nil, fmt.Errorf("--tap %s: the device has no IPv4 address and is no port of a bridge that has one: give it one, or name a device that does not exist, which is then made", name)
}

// defaultMTU is that of Ethernet.
const defaultMTU = 1500

// makeTAP makes a TAP device with the server's address.
func makeTAP(name string, queues, mtu int) error {
	for _, command := range tapCommands(name, queues, mtu) {
		if err := ip(command...); err != nil {
			return fmt.Errorf("--tap %s: make the device (as root): %w", name, err)
		}
	}
	return nil
}

// ip runs the command of that name.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// tapCommands are what is said to ip to make a TAP device.
func tapCommands(name string, queues, mtu int) [][]string {
	ones, _ := tapLease.Mask.Size()
	add := []string{"tuntap", "add", "dev", name, "mode", "tap"}
	if queues > 1 {
		add = append(add, "multi_queue")
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return [][]string{
		add,
		{"link", "set", name, "mtu", strconv.Itoa(mtu)},
		{"address", "add", fmt.Sprintf("%v/%d", tapLease.Server, ones), "dev", name},
		{"link", "set", name, "up"},
	}
}
