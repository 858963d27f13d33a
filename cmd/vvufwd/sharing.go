package main

import (
	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/resources"
	"vvufwd/vvu/door"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vhostuser"
)

// generosity is how many times the machine's memory one front-end may share by default:
// memory that a guest could be given later (hotplug) counts from the start, though there
// is nothing behind it.
const generosity = 4

// What a port at a socket can have open, and all else.
const (
	filesEachMessage = 2 * vhostuser.MaxFDs // the one at hand, and one being closed
	filesEachRing    = 2                    // kick, call
	filesEachPort    = 3 + door.Files       // listener, connection, asynchronous I/O, others that connect
	filesBesides     = 96                   // clients that ask and scrape among them
	mappingsBesides  = 4096                 // the Go run-time's
)

// sockets is how many ports are at sockets. What they share comes with them; what vvu
// ports do is in the BAR of a device, which bounds it.
func (o *options) sockets() (n int) {
	for _, p := range o.ports {
		if p.atSocket() {
			n++
		}
	}
	return n
}

// checkMemory finds out what a front-end at a socket may share. Each port has the same part
// of this process's address space and mappings, whether someone uses it or not: then
// nothing that one front-end does is at another's expense.
func (o *options) checkMemory() error {
	n := o.sockets()
	if n == 0 {
		if o.maxMemory != 0 {
			return cli.Usagef("--max-memory is for front-ends at sockets, and no port is one: with --vvu the device's BAR bounds what is shared")
		}
		return nil
	}
	if o.maxMemory != 0 && o.maxMemory < resources.LeastShared {
		return cli.Usagef("--max-memory %s: no VM shares less than a page of %d bytes: give a size such as 64G", o.maxMemory.String(), resources.LeastShared)
	}
	// Half of it for all else, such as the heap and huge pages that are mapped in whole.
	most := resources.AddressSpace() / 2 / uint64(n)
	if o.maxMemory > cli.Size(most) {
		return cli.Usagef("--max-memory %s: each of %d front-ends can share %s at most, or this process runs out of address space", o.maxMemory.String(), n, cli.Bytes(most))
	}
	o.sharing = socket.Limits{Memory: uint64(o.maxMemory), Regions: vhostuser.LimitMaxRegions}
	if o.maxMemory == 0 {
		o.sharing.Memory = most
		if memory, err := resources.Memory(); err == nil {
			o.sharing.Memory = min(most, generosity*memory)
		}
	}
	o.sharing.Regions = max(vhostuser.DefaultMaxRegions, min(o.sharing.Regions, (resources.Mappings()-mappingsBesides)/n))
	return nil
}

// sayMemory logs what front-ends may share, and what they could lack.
func (o *options) sayMemory(log *zap.Logger) {
	n := o.sockets()
	if n == 0 {
		return
	}
	log.Info("each front-end at a socket may share memory (--max-memory)",
		zap.String("at most", cli.Bytes(o.sharing.Memory)), zap.Int("regions", o.sharing.Regions))
	// What is not there yet of a file is made by the first access, and charged to whose
	// access it is, until the file is gone: guests' receive buffers are often first
	// touched by us.
	if limit, ok := resources.CgroupMemory(); ok && limit < uint64(n)*o.sharing.Memory {
		log.Warn("guest memory that vvufwd touches first is charged to its own control group, which allows less than guests may share: "+
			"guests can get vvufwd killed; run it in the group of its VMs, allow it more (MemoryMax=), or lower --max-memory", zap.String("limit", cli.Bytes(limit)))
	}
	need := uint64(n*(filesEachPort+filesEachMessage+filesEachRing*(2*o.queues+1)) + filesBesides)
	if have := resources.Files(); have < need {
		log.Warn("front-ends may be refused because the limit of open files is too low: raise it (ulimit -n, LimitNOFILE=)", zap.Uint64("may be needed", need), zap.Uint64("allowed", have))
	}
}
