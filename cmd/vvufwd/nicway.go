package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/netfwd/netdev"
	"vvufwd/vfio/pci"
)

// nicWays are the kinds of ports that --nic tries with an interface, the best first.
var nicWays = []string{"xdp", "packet"}

// ways are the kinds that the port may become.
func (p portSpec) ways() []string {
	switch {
	case p.kind != "nic":
		return []string{p.kind}
	case p.l2nat:
		return slices.DeleteFunc(slices.Clone(nicWays), func(way string) bool { return !canTranslate(way) })
	}
	return nicWays
}

// canTranslate reports whether frames of such a kind of port can leave with the interface's own address.
func canTranslate(kind string) bool {
	k, _ := netdevs.named(kind)
	return k.l2nat
}

// openWay opens queues of the port's interface, up to so many, in the best way that there is for it.
func (p *portSpec) openWay(queues, loops int, log *zap.Logger, stopped func() bool) (files []*os.File, err error) {
	var why error
	for _, way := range p.ways() {
		kind, _ := netdevs.named(way)
		if files, err = kind.open(p, p.ifname, p.queuesOf(kind, queues, loops), stopped); err == nil {
			if p.kind = way; p.best {
				say := []zap.Field{zap.String("interface", p.ifname), zap.String("way", way)}
				if why != nil {
					say = append(say, zap.NamedError("because", why))
				}
				log.Info("the interface stays with its kernel driver", say...)
			}
			if kind.l2nat && !p.l2nat && netdev.IsStation(p.ifname) {
				log.Warn("a Wi-Fi card in station mode sends only frames with its own address: add ,l2nat", zap.String("interface", p.ifname))
			}
			return files, nil
		}
		why = err
	}
	return nil, err
}

// queuesOf is how many queues to open, of those that may be.
func (p *portSpec) queuesOf(kind netdevKind, most, loops int) int {
	switch {
	case p.l2nat:
		return 1 // who is behind it is known to one
	case kind.allQueues:
		return most
	case kind.loops:
		return min(most, loops)
	}
	return min(most, usefulQueues())
}

// findInterfaces finds the names by which the kernel knows the interfaces of all ports, and ports that
// cannot go together.
func findInterfaces(o *options) (names map[string]string, err error) {
	names = map[string]string{}
	taken := map[string]portSpec{} // by whom
	for _, p := range o.ports {
		if !p.onInterface() {
			continue
		}
		if p.kind == "tap" {
			names[p.iface] = p.iface
			continue
		}
		name, err := netdev.Lookup(p.iface)
		switch {
		case errors.Is(err, netdev.ErrNotThere) && p.kind == "nic":
			err = fmt.Errorf("%w; or name a PCI function, such as --nic 0000:00:04.0", err)
		case errors.Is(err, netdev.ErrNotThere) && p.kind == "macvtap":
			err = fmt.Errorf("%w: name the interface that is to have a macvtap interface, or one that exists", err)
		case err == nil:
			err = o.checkInterface(p, name, taken)
		}
		if err != nil {
			return nil, cli.Unusablef("%s: %w", p.flag, err)
		}
		names[p.iface] = name
		taken[name] = p
	}
	return names, nil
}

// macvlanDriver is what the kernel says is the driver of macvtap interfaces that exist.
const macvlanDriver = "macvlan"

// checkInterface finds out whether a port can have an interface, besides others.
func (o *options) checkInterface(p portSpec, name string, taken map[string]portSpec) error {
	driver, place := netdev.Driver(name)
	if other, ok := taken[name]; ok {
		made := p.kind == "macvtap" && other.kind == "macvtap" && driver != macvlanDriver // one for each
		if !made {
			return fmt.Errorf("it is the interface of %s: name each once", other.flag)
		}
	}
	if p.kind == "nic" && driver == "tun" {
		return fmt.Errorf("interface %s is a TAP device and no NIC: --port tap:%s, or if another program has it open --port packet:%s", name, name, name)
	}
	function, err := pci.ParseAddress(place)
	if err != nil {
		return nil
	}
	for _, q := range o.ports {
		if q.onPCI() && q.addr == function {
			return fmt.Errorf("interface %s is what the kernel makes of %v, which %s takes: name it in one way", name, function, q.flag)
		}
	}
	return nil
}

// behind is the PCI function behind an interface.
func behind(name string) (function pci.Address, ok bool) {
	real, err := netdev.Lookup(name)
	if err != nil {
		return function, false
	}
	_, place := netdev.Driver(real)
	function, err = pci.ParseAddress(place)
	return function, err == nil
}
