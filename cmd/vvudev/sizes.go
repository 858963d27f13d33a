package main

import (
	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/resources"
	"vvufwd/vvu/device"
)

// checkSizes finds sizes that no machine takes, and those that are more than this one has: what the size of a RAM file or of a shadow
// region says, a VM can have taken by writing to all of it, and would be killed then, and others perhaps before it.
func (o *options) checkSizes() error {
	if o.createRAM != 0 {
		if err := device.CheckRAMSize(uint64(o.createRAM)); err != nil {
			return cli.Usagef("--create-ram %s: %w", o.createRAM.String(), err)
		}
	}
	if o.memory != 0 && o.memory < resources.LeastShared {
		return cli.Usagef("--max-memory %s: no VM shares less than a page of %d bytes: give a size such as 64G", o.memory.String(), resources.LeastShared)
	}
	if _, err := o.sharing(); err != nil {
		return err
	}
	memory, err := resources.Memory()
	if err != nil {
		return nil // no one knows
	}
	switch regions := uint64(len(o.devices)) * uint64(o.size); {
	case uint64(o.createRAM) > memory:
		return cli.Unusablef("--create-ram %s: this machine has %s of memory, swap included: give the size of the app VM's memory", o.createRAM.String(), cli.Bytes(memory))
	case regions > memory:
		return cli.Unusablef("--shadow %s: this machine has %s of memory, swap included, and driver VMs can write to all of %d such regions: %s each will do", o.size.String(), cli.Bytes(memory), len(o.devices), defaultShadow)
	}
	return nil
}
