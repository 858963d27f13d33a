package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/l2nat"
	"vvufwd/netfwd/netdev/packet"
	"vvufwd/netfwd/netdev/tap"
	"vvufwd/netfwd/netdev/xdp"
)

// netdevKind is a kind of port over the kernel's network interfaces. Open takes
// privileges, make does not.
type netdevKind struct {
	name string
	open func(p *portSpec, name string, queues int, stopped func() bool) ([]*os.File, error) // which waits for nothing once stopped
	make func(files []*os.File, again xdp.Reopen) (netdev.Interface, error)
	need func(*confine.Policy) // what it needs once it is confined

	l2nat     bool // its frames can leave with the interface's own address
	allQueues bool // whatever CPUs there are: what arrives at others would be lost
	loops     bool // more queues than loops are of no use
}

type netdevKinds []netdevKind

// netdevs are those that there are.
var netdevs = netdevKinds{
	{name: "tap", open: byName(openTAP), make: once(tap.New), need: func(p *confine.Policy) { p.TAP = true }},
	{name: "packet", open: byName(packet.Open), make: once(packet.New), need: func(p *confine.Policy) { p.PacketSockets = true }, l2nat: true, loops: true},
	{name: "xdp", open: openXDP, make: xdp.New, need: func(p *confine.Policy) { p.XDP = true }, allQueues: true},
	{name: "macvtap", open: openMacvtap, make: once(tap.New), need: func(p *confine.Policy) { p.TAP = true }},
}

// byName is for kinds that have no options of their own.
func byName(open func(name string, queues int) ([]*os.File, error)) func(*portSpec, string, int, func() bool) ([]*os.File, error) {
	return func(_ *portSpec, name string, queues int, _ func() bool) ([]*os.File, error) {
		return open(name, queues)
	}
}

// once is for kinds whose files are as good as ever when their interface is back.
func once(make func(files []*os.File) (netdev.Interface, error)) func([]*os.File, xdp.Reopen) (netdev.Interface, error) {
	return func(files []*os.File, _ xdp.Reopen) (netdev.Interface, error) { return make(files) }
}

func openMacvtap(p *portSpec, name string, queues int, _ func() bool) ([]*os.File, error) {
	return tap.OpenMacvtap(name, p.macvtap, queues)
}

func (k netdevKinds) names() (names []string) {
	for _, kind := range k {
		names = append(names, kind.name)
	}
	return names
}

func (k netdevKinds) named(name string) (netdevKind, bool) {
	for _, kind := range k {
		if kind.name == name {
			return kind, true
		}
	}
	return netdevKind{}, false
}

// inheritedTAP is the address of a TAP device that comes as descriptors, one for each queue: fd=N,fd=M.
const inheritedTAP = "fd="

// inheritedFDs reads such an address.
func inheritedFDs(address string) (fds []int, err error) {
	for _, one := range strings.Split(address, ",") {
		n, ok := strings.CutPrefix(one, inheritedTAP)
		fd, err := strconv.Atoi(n)
		if !ok || err != nil || fd < 3 || fd > 1<<20 || slices.Contains(fds, fd) {
			return nil, fmt.Errorf("%s: want the numbers of open descriptors, 3 or more, such as fd=3 or fd=3,fd=4", address)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func openTAP(iface string, queues int) ([]*os.File, error) {
	if !strings.HasPrefix(iface, inheritedTAP) {
		return tap.Open(iface, queues)
	}
	fds, err := inheritedFDs(iface)
	if err != nil {
		return nil, err
	}
	return tap.OpenFDs(fds)
}

// checkInterface checks the address of a port of such a kind.
func checkInterface(kind, address string) error {
	if kind == "tap" && strings.HasPrefix(address, inheritedTAP) {
		_, err := inheritedFDs(address)
		return err
	}
	if kind == "tap" { // which may have to be made
		return netdev.CheckName(address)
	}
	return netdev.CheckAnyName(address)
}

// interfaces are the queues of the interfaces that the command line names, by port. They are
// opened with all the privileges that vvufwd is started with.
type interfaces map[string][]*os.File

// openInterfaces opens them, and waits for nothing once stopped says so. What a NIC's port is then called says which way was taken.
func openInterfaces(o *options, log *zap.Logger, stopped func() bool) (interfaces, error) {
	all := interfaces{}
	names, err := findInterfaces(o)
	if err != nil {
		return nil, err
	}
	for i := range o.ports {
		p := &o.ports[i]
		if !p.onInterface() {
			continue
		}
		p.ifname = names[p.iface]
		files, err := p.openWay(o.queues, o.mostLoops(), log, stopped)
		if err != nil {
			all.close()
			return nil, cli.Unusablef("%s: %w", p.flag, err)
		}
		all[p.String()] = files
	}
	return all, nil
}

// usefulQueues is how many queues of an interface are of use: each is looked at by a
// system call, so more than there are loops to do that only cost time.
func usefulQueues() int { return runtime.NumCPU() }

// mostLoops is how many loops there may be.
func (o *options) mostLoops() int {
	if o.switched {
		return 1
	}
	return len(o.loopCPUs(o.queues * len(o.ports)))
}

// handed is the name under which a queue of a port is handed over.
func handed(port string, i int) string { return fmt.Sprintf("%s#%d", port, i) }

// hand adds the queues to the files that this process hands over to the one that it becomes.
func (all interfaces) hand(files map[string]*os.File) {
	for port, queues := range all {
		for i, f := range queues {
			files[handed(port, i)] = f
		}
	}
}

// inheritInterfaces takes over what the vvufwd that this one was has opened.
func inheritInterfaces(o *options) interfaces {
	all := interfaces{}
	for i := range o.ports {
		p := &o.ports[i]
		if !p.onInterface() {
			continue
		}
		for _, kind := range p.ways() {
			became := *p
			became.kind = kind
			if files := inheritQueues(became.String()); len(files) > 0 {
				*p, all[became.String()] = became, files
				break
			}
		}
	}
	return all
}

// inheritQueues takes over those of one port.
func inheritQueues(port string) (files []*os.File) {
	for {
		f := confine.Inherited(handed(port, len(files)))
		if f == nil {
			return files
		}
		files = append(files, f)
	}
}

// take are the queues of a port, which are the port's from then on.
func (all interfaces) take(port string) []*os.File {
	files := all[port]
	delete(all, port)
	return files
}

// close closes what no one has taken.
func (all interfaces) close() {
	for _, files := range all {
		for _, f := range files {
			f.Close()
		}
	}
}

// openInterface makes a port of an interface.
func openInterface(spec portSpec, o *options, log *zap.Logger) (*port, error) {
	files := o.opened.take(spec.String())
	if len(files) == 0 {
		return nil, errors.New(spec.String() + " was not handed over")
	}
	kind, _ := netdevs.named(spec.kind)
	iface, err := kind.make(files, o.reopen(&spec))
	if err == nil && spec.l2nat {
		iface, err = l2nat.Wrap(iface, o.macAge)
	}
	if err != nil {
		return nil, cli.Unusablef("%s: %w", spec.flag, err)
	}
	d, err := netdev.NewDevice(spec.String(), iface, log)
	if err != nil {
		return nil, err
	}
	p := &port{netdev: d, link: d.Up(), onLink: func(bool) {}, control: confined(d.Run), closers: []func() error{d.Close}}
	for _, q := range d.Ports() {
		p.Queues = append(p.Queues, netfwd.Port(q))
	}
	say := []zap.Field{zap.Int("pairs", len(p.Queues)), zap.Bool("link", p.link)}
	if more, ok := iface.(interface{ Details() string }); ok {
		say = append(say, zap.String("details", more.Details()))
	}
	log.Info("an interface is open", say...)
	return p, nil
}
