package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/reports"
	"vvufwd/cmd/internal/resources"
	"vvufwd/vvu/session"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vhostuser"
)

// shadowing is what the command line says of a shadow region.
type shadowing struct {
	size      cli.Size // 0: none
	devices   []shadowDevice
	given     int // of devices, by --device
	cpus      []int
	idleAfter time.Duration
	packed    bool
	reports   reports.Reports
	used      []string // flags that were given and are for a shadow only
}

// shadowDevice is a device with its sockets.
type shadowDevice struct {
	vfioUser, vhostUser string
	uuid                uuid
	mac                 net.HardwareAddr // of the app VM's network device; nil: its monitor's business
}

// defaultShadow is the size of a region if none is given.
const defaultShadow = "64M"

// withDefaultSize gives a --shadow without a size the default one: a flag must have a value.
func withDefaultSize(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		alone := i+1 == len(args) || strings.HasPrefix(args[i+1], "-")
		if (arg == "--shadow" || arg == "-shadow") && alone {
			args[i] = "--shadow=" + defaultShadow
		}
	}
	return args
}

// on reports whether there is to be a shadow.
func (s *shadowing) on() bool { return s.size != 0 }

// named reports whether devices were given by --device.
func (s *shadowing) named() bool { return s.given > 0 }

// shadowFlags adds the flags.
func (s *shadowing) shadowFlags(f *flag.FlagSet) {
	f.Var(&s.size, "shadow", "show the driver VM a region of `SIZE` bytes with the frames on their way, and not the app VM's memory (default "+defaultShadow+" with --shadow alone)")
	f.Func("device", "with --shadow, one more device: `vfio-user=PATH,vhost-user=PATH`, with \",uuid=UUID\" and \",mac=ADDRESS\", which the app VM's monitor is told and the network too, if need be; repeat for several app VMs", func(text string) error {
		d, err := parseDevice(text)
		s.devices = append(s.devices, d)
		s.given++
		return err
	})
	f.Func("cpus", "with --shadow, `LIST` of CPUs, such as 1,2 or 1-3, each with a loop pinned to it that forwards (default: one loop, not pinned)", func(text string) (err error) {
		s.cpus, err = cli.ParseCPUs(text)
		return err
	})
	f.DurationVar(&s.idleAfter, "idle-after", 500*time.Microsecond, "with --shadow, sleep until a kick when no frame came for this `TIME`, as vvufwd does; 0s: at once; negative: always poll")
	f.BoolVar(&s.packed, "packed", false, "with --shadow, use packed rings towards the driver VM, if its vvufwd has them (default: split ones, which cost less)")
	s.reports.Flags(f, "with --shadow, ")
}

// forShadow are the flags that are of use with a shadow only.
var forShadow = []string{"device", "cpus", "idle-after", "packed", "stats", "stats-json"}

// noteUsed notes which of them were given.
func (s *shadowing) noteUsed(f *flag.FlagSet) {
	f.Visit(func(f *flag.Flag) {
		if slices.Contains(forShadow, f.Name) {
			s.used = append(s.used, "--"+f.Name)
		}
	})
}

// parseDevice reads "vfio-user=PATH,vhost-user=PATH".
func parseDevice(text string) (d shadowDevice, err error) {
	d.uuid = randomUUID()
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case !ok || value == "":
			return d, fmt.Errorf("%q: want KEY=VALUE", part)
		case key == "vfio-user":
			d.vfioUser = value
		case key == "vhost-user":
			d.vhostUser = value
		case key == "uuid":
			if err := d.uuid.Set(value); err != nil {
				return d, err
			}
		case key == "mac":
			if d.mac, err = cli.ParseMAC(value); err != nil {
				return d, err
			}
		default:
			return d, fmt.Errorf("%q: want vfio-user, vhost-user, uuid or mac", key)
		}
	}
	if d.vfioUser == "" || d.vhostUser == "" {
		return d, errors.New("want vfio-user=PATH,vhost-user=PATH")
	}
	return d, nil
}

// checkShadow finds contradictions.
func (o *options) checkShadow() error {
	switch {
	case !o.on() && len(o.used) > 0:
		return cli.Usagef("%s is for --shadow: without it there is one device, and no loop", o.used[0])
	case !o.on():
		return nil
	case o.ram != "" || o.createRAM != 0:
		return cli.Usagef("--ram and --create-ram are of no use with --shadow: leave them out, and give the app VM any memory that can be shared (share=on)")
	case o.size%shadow.PageSize != 0:
		return cli.Usagef("--shadow %s: want a multiple of %d", o.size.String(), shadow.PageSize)
	case o.size > shadow.MaxSize:
		most := cli.Size(shadow.MaxSize)
		return cli.Usagef("--shadow %s: %s is the most: what is beyond %s has no use", o.size.String(), most.String(), cli.Bytes(shadow.Need(session.MaxPairs)))
	case o.named() && (o.vfioUser != "" || o.vhostUser != ""):
		return cli.Usagef("--device and --vfio-user or --vhost-user: give all devices by --device, or one without")
	case o.queues >= 2 && shadow.Need(o.pairs()) > uint64(o.size):
		need := cli.Size(shadow.Need(o.pairs())) // exactly: one that is rounded down would be refused, too
		return cli.Usagef("--shadow %s is too small for --queues %d: give it %s or more, or fewer --queues", o.size.String(), 2*o.pairs(), need.String())
	case o.queues < 2:
		return cli.Usagef("--queues %d: with --shadow at least 2, which is one queue pair", o.queues)
	}
	if err := o.reports.Check(); err != nil {
		return err
	}
	return o.checkDevices()
}

// checkDevices finds what two devices cannot have both.
func (o *options) checkDevices() error {
	paths := map[string]bool{}
	for i, d := range o.devices {
		for _, path := range []string{d.vfioUser, d.vhostUser} {
			if clean := filepath.Clean(path); !paths[clean] {
				paths[clean] = true
				continue
			}
			return cli.Usagef("--device: %s is named twice: give each socket a path of its own", path)
		}
		others := o.devices[:i]
		if d.mac != nil && slices.ContainsFunc(others, func(other shadowDevice) bool { return slices.Equal(other.mac, d.mac) }) {
			return cli.Usagef("--device: mac=%v is given twice: give each app VM an address of its own", d.mac)
		}
		if slices.ContainsFunc(others, func(other shadowDevice) bool { return other.uuid == d.uuid }) {
			return cli.Usagef("--device: uuid=%v is given twice: give each device an identity of its own", &d.uuid)
		}
	}
	return nil
}

// pairs is how many queue pairs a device has.
func (o *options) pairs() int { return min(o.queues/2, session.MaxPairs) }

// maxMappings is where Linux tells how many mappings a process may have.
const maxMappings = "/proc/sys/vm/max_map_count"

// mappingsBesides is how many the Go run-time may need.
const mappingsBesides = 4096

// sharing is what an app VM's front-end may share, and as much memory again its driver VM's monitor: all the
// same part of what this process can map, whether someone uses it or not. So nothing that one does is at
// another's expense.
func (o *options) sharing() (socket.Limits, error) {
	n := len(o.devices)
	most := shareOf(resources.AddressSpace(), n)
	l := socket.Limits{Memory: uint64(o.memory), Regions: vhostuser.LimitMaxRegions}
	if l.Memory == 0 {
		l.Memory = min(most, o.maxMemory())
	}
	if l.Memory > most {
		return l, cli.Usagef("--max-memory %s: each of %d app VMs, and its driver VM, can share %s at most, or this process runs out of address space", o.memory.String(), n, cli.Bytes(most))
	}
	l.Regions = max(vhostuser.DefaultMaxRegions, min(l.Regions, (resources.Mappings()-mappingsBesides)/n))
	return l, nil
}

// shareOf is how much of the address space each side of each of n devices may take. A quarter stays for
// shadow regions and the Go run-time.
func shareOf(space uint64, n int) uint64 { return space / 8 * 3 / uint64(n) }
