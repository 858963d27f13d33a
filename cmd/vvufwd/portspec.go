package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/netfwd/netdev/tap"
	"vvufwd/netfwd/netdev/xdp"
	"vvufwd/vfio/pci"
	"vvufwd/vvu/vhostuser"
)

// portSpec is a port as named on the command line.
type portSpec struct {
	kind     string           // one of kinds; "nic" with an interface becomes what serves that best, see chooseWays
	addr     pci.Address      // of a PCI function
	path     string           // of a socket
	iface    string           // of the kernel's, see netdevs
	best     bool             // the kind is the best that there is for the interface, which was named as a NIC
	client   bool             // connect to the socket rather than listen at it
	mac      net.HardwareAddr // the only address behind the port of a switch; nil: any
	isolated bool             // from other isolated ports of a switch
	ifname   string           // by which the kernel knows it, once it was looked for
	mode     xdp.Mode         // of an xdp port; empty: the best that there is
	macvtap  tap.Mode         // of an interface that is made; empty: the usual one
	nth      int              // macvtap port of those at the same interface, each of which is made one; 0: the first
	mtu      int              // of an interface that is to get that one, as /init; 0: what it has
	l2nat    bool             // frames leave with the interface's own address
	flag     string           // how the user wrote it, for errors
}

func (p portSpec) onPCI() bool { return p.path == "" && p.iface == "" }

func (p portSpec) atSocket() bool { return p.path != "" }

func (p portSpec) onInterface() bool { return p.iface != "" }

// uplink reports whether the port leads to a network rather than to an app VM.
func (p portSpec) uplink() bool {
	_, driver := nics.Named(p.kind)
	return driver || p.kind == "nic" || p.onInterface()
}

func (p portSpec) String() string {
	if p.onPCI() {
		return p.kind + ":" + p.addr.String()
	}
	return p.kind + ":" + p.path + p.iface + p.number()
}

// number tells ports apart that are made at the same interface.
func (p portSpec) number() string {
	if p.nth == 0 {
		return ""
	}
	return fmt.Sprintf("#%d", p.nth+1)
}

// kinds of ports that --port knows.
var kinds = slices.Concat([]string{"vvu", "nic", "vhost-user"}, netdevs.names(), nics.Names())

// parsePort reads ADDRESS[,OPTION…] of a port.
func parsePort(kind, flagName, s string) (p portSpec, err error) {
	address, options, _ := strings.Cut(s, ",")
	for kind == "tap" && strings.HasPrefix(address, inheritedTAP) && strings.HasPrefix(options, inheritedTAP) {
		one, rest, _ := strings.Cut(options, ",")
		address, options = address+","+one, rest
		s = strings.TrimSuffix(address+","+options, ",")
	}
	p = portSpec{kind: kind, flag: flagName + " " + s}
	if _, ok := netdevs.named(kind); ok || kind == "nic" && namesInterface(address) {
		if err = checkInterface(kind, address); err != nil {
			return p, err
		}
		p.iface, p.best = address, kind == "nic"
	} else if kind == "vhost-user" {
		if address == "" {
			return p, errors.New("want SOCKET or SOCKET,client")
		}
		if p.path, err = filepath.Abs(address); err == nil {
			err = vhostuser.CheckPath(p.path) // a client would wait for it for ever
		}
		if err != nil {
			return p, err
		}
	} else if p.addr, err = pci.ParseAddress(address); err != nil {
		return p, err
	}
	if options == "" && !strings.HasSuffix(s, ",") {
		return p, nil
	}
	for _, option := range strings.Split(options, ",") {
		if err := p.set(option); err != nil {
			return p, err
		}
	}
	return p, nil
}

// namesInterface reports whether the address of a NIC is meant to be an interface: a PCI address has
// colons, which no interface's name has.
func namesInterface(address string) bool {
	return address != "" && !strings.Contains(address, ":")
}

// set carries out one option.
func (p *portSpec) set(option string) (err error) {
	name, value, hasValue := strings.Cut(option, "=")
	switch {
	case name == "mac" && hasValue:
		p.mac, err = cli.ParseMAC(value)
		return err
	case option == "isolate":
		p.isolated = true
		return nil
	case (option == "client" || option == "server") && p.atSocket():
		p.client = option == "client"
		return nil
	case name == "mode" && hasValue && p.kind == "xdp":
		p.mode, err = xdp.ParseMode(value)
		return err
	case name == "mode" && hasValue && p.kind == "macvtap":
		p.macvtap, err = tap.ParseMode(value)
		return err
	case name == "mtu" && hasValue && p.onInterface() && p.kind != "tap":
		p.mtu, err = parseMTU(value)
		return err
	case option == "l2nat":
		if !p.onInterface() || p.kind != "nic" && !canTranslate(p.kind) {
			return errors.New("l2nat is for a Wi-Fi card, as --nic wlan0,l2nat or packet:wlan0,l2nat")
		}
		p.l2nat = true
		return nil
	}
	known := "mac=ADDRESS or isolate"
	if p.onInterface() && p.kind != "tap" {
		known = "mtu=BYTES, " + known
	}
	switch {
	case p.atSocket():
		known = "client, " + known
	case p.kind == "xdp":
		known = "mode=zerocopy, mode=copy, mode=generic, " + known
	case p.kind == "macvtap":
		known = "mode=bridge, mode=private, mode=vepa, mode=passthru, " + known
	case p.onInterface() && p.kind == "nic", canTranslate(p.kind):
		known = "l2nat, " + known
	}
	return fmt.Errorf("unknown option %q, want %s", option, known)
}

// parseMTU reads an MTU that frames of any kind of port can have.
func parseMTU(s string) (int, error) {
	const least, most = 68, 65535
	mtu, err := strconv.Atoi(s)
	if err != nil || mtu < least || mtu > most {
		return 0, fmt.Errorf("mtu=%s: want bytes, %d to %d, such as mtu=9000", s, least, most)
	}
	return mtu, nil
}

// parseKindPort reads KIND:ADDRESS[,OPTION…].
func parseKindPort(s string) (portSpec, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return portSpec{}, fmt.Errorf("want KIND:ADDRESS, with KIND one of %s", strings.Join(kinds, ", "))
	}
	if !slices.Contains(kinds, kind) {
		return portSpec{}, fmt.Errorf("unknown kind %q, want one of %s", kind, strings.Join(kinds, ", "))
	}
	p, err := parsePort(kind, "--port", rest)
	p.flag = "--port " + s
	return p, err
}

// countMacvtaps tells those at the same interface apart.
func (o *options) countMacvtaps() {
	n := map[string]int{}
	for i := range o.ports {
		if p := &o.ports[i]; p.kind == "macvtap" {
			p.nth = n[p.iface]
			n[p.iface]++
		}
	}
}

// checkPorts finds ports that cannot go together.
func (o *options) checkPorts() error {
	o.countMacvtaps()
	seen := map[string]bool{}
	for _, p := range o.ports {
		place := p.addr.String() + p.path
		if p.onInterface() {
			place = p.String()
		}
		if seen[place] {
			return cli.Usagef("%s: named twice", p.flag)
		}
		seen[place] = true
		if p.mtu != 0 && !o.owned {
			return cli.Usagef("%s: vvufwd sets the MTU of an interface only as /init: ip link set %s mtu %d", p.flag, p.iface, p.mtu)
		}
		if p.mac != nil {
			if seen[p.mac.String()] {
				return cli.Usagef("%s: another port has the address %v as well", p.flag, p.mac)
			}
			seen[p.mac.String()] = true
		}
	}
	if o.switched {
		return o.checkSwitch()
	}
	for _, p := range o.ports {
		if p.mac != nil || p.isolated {
			return cli.Usagef("%s: mac and isolate are for the ports of a switch: add --switch", p.flag)
		}
	}
	switch {
	case len(o.ports) == 0:
		return cli.Usagef("no ports: give pairs such as --vvu 0000:00:05.0 --nic 0000:00:04.0")
	case len(o.ports)%2 != 0:
		return cli.Usagef("port %s has no partner: ports are paired in the order given, and there are %d; --switch joins any number", o.ports[len(o.ports)-1], len(o.ports))
	case len(o.cpus) > o.queues*len(o.ports)/2:
		return cli.Usagef("--cpus names %d CPUs for %d pairs of ports: give at most one for each pair of queue pairs, of which there are up to %d", len(o.cpus), len(o.ports)/2, o.queues*len(o.ports)/2)
	}
	return nil
}
