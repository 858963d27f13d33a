package main

import (
	"flag"
	"slices"

	"vvufwd/cmd/internal/cli"
)

// misplaced returns a usage error if a flag was given that would do nothing, for want of what it is about.
func (o *options) misplaced(fs *flag.FlagSet, asInit bool) error {
	functions := slices.ContainsFunc(o.ports, portSpec.onPCI)
	nics := slices.ContainsFunc(o.ports, func(p portSpec) bool { return p.onPCI() && p.uplink() })
	forSwitch := func(flag string) error { return cli.Usagef("%s is for a switch: add --switch", flag) }
	for _, f := range []struct {
		name    string
		of      bool // it is of use
		refusal error
	}{
		{"isolate", o.switched, forSwitch("--isolate")},
		{"mac-age", o.switched || o.translates(), forSwitch("--mac-age")},
		{"mac-limit", o.switched, forSwitch("--mac-limit")},
		{"queue-size", nics, cli.Usagef("--queue-size is for the rings of a NIC that vvufwd drives, and no port is one: leave it out")},
		{"require-hugepages", functions, cli.Usagef("--require-hugepages is for the DMA memory of PCI functions, and no port is one: leave it out")},
		{"noiommu", functions || !o.noIOMMU, cli.Usagef("--noiommu is for PCI functions, and no port is one: leave it out")},
		{"hugepages", asInit || o.noIOMMU, cli.Usagef("--hugepages: vvufwd reserves them only as /init or with --noiommu: echo N > /proc/sys/vm/nr_hugepages")},
		{"allow-unsafe-interrupts", asInit, cli.Usagef("--allow-unsafe-interrupts: vvufwd allows them only as /init: echo Y > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")},
	} {
		if !f.of && cli.Given(fs, f.name) {
			return f.refusal
		}
	}
	return nil
}
