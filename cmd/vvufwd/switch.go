package main

import (
	"flag"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/netfwd"
)

// Defaults and bounds of a switch.
const (
	defaultMACAge   = 300 * time.Second // as 802.1Q recommends
	defaultMACLimit = 256
	largestMACLimit = 1024
)

// switchFlags defines the flags of a switch.
func (o *options) switchFlags(fs *flag.FlagSet) {
	fs.BoolVar(&o.switched, "switch", false, "join all ports, 2 to 64, in one switch that learns addresses, rather than in pairs")
	fs.BoolVar(&o.isolate, "isolate", false, "with --switch: no way between app VMs, only to NICs and interfaces; for single ports add \",isolate\" to each")
	fs.DurationVar(&o.macAge, "mac-age", defaultMACAge, "with --switch or l2nat: forget an address of which no frame came for this `TIME`")
	fs.IntVar(&o.macLimit, "mac-limit", defaultMACLimit, "with --switch: learn up to `N` addresses from each app VM, 16 times as many from a NIC or an interface")
}

// translates reports whether there is a port whose frames leave with the interface's own address.
func (o *options) translates() bool {
	return slices.ContainsFunc(o.ports, func(p portSpec) bool { return p.l2nat })
}

// checkSwitch finds contradictions among the ports of a switch and its flags.
func (o *options) checkSwitch() error {
	reachable := 0
	for i := range o.ports {
		p := &o.ports[i]
		p.isolated = p.isolated || o.isolate && !p.uplink()
		if !p.isolated {
			reachable++
		}
	}
	switch n := len(o.ports); {
	case n < 2 || n > netfwd.MaxSwitchPorts:
		return cli.Usagef("--switch: %d ports: give 2 to %d, such as --nic 0000:00:04.0 --vvu 0000:00:05.0 --vvu 0000:00:06.0", n, netfwd.MaxSwitchPorts)
	case reachable == 0:
		return cli.Usagef("isolated ports reach only ports that are not, and all %d are isolated: add a NIC, or isolate fewer", n)
	case len(o.cpus) > 1:
		return cli.Usagef("--cpus names %d CPUs: a switch has one loop, give one", len(o.cpus))
	case o.macLimit < 1 || o.macLimit > largestMACLimit:
		return cli.Usagef("--mac-limit %d: want 1 to %d", o.macLimit, largestMACLimit)
	}
	return nil
}

// openSwitch joins all ports in a switch.
func (f *forwarder) openSwitch(o *options) error {
	cfg := netfwd.SwitchConfig{MACAge: o.macAge, MACLimit: o.macLimit, OnConflict: f.warnOfConflict}
	for i, spec := range o.ports {
		cfg.Ports = append(cfg.Ports, netfwd.SwitchPort{
			End: f.ports[i].End, Address: spec.mac, Isolated: spec.isolated, Uplink: spec.uplink(),
		})
	}
	sw, err := netfwd.NewSwitch(cfg, f.loopConfig(o, o.loopCPUs(1)[0]), f.warn)
	if err != nil {
		return err
	}
	f.forwarding = sw
	var ports []string
	for i, p := range f.ports {
		ports = append(ports, o.ports[i].describe(p.Name()))
	}
	f.log.Info("forwarding in a switch", zap.Strings("ports", ports))
	return nil
}

func (f *forwarder) warnOfConflict(address net.HardwareAddr, ports [2]string) {
	f.log.Warn("frames with the same source address come from two ports, and frames to it reach only one of them: give each guest an address of its own (with QEMU, mac= of its network device)",
		zap.Stringer("address", address), zap.Strings("ports", ports[:]))
}

// describe names a port with what its switch knows of it.
func (p portSpec) describe(name string) string {
	if p.mac != nil {
		name += ", address " + p.mac.String()
	}
	if p.isolated {
		name += ", isolated"
	}
	return name
}
