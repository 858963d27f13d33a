package main

import (
	"flag"
	"slices"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/machine"
)

// misplaced returns a usage error if a flag was given that would do nothing beside another one.
func (o *options) misplaced(fs *flag.FlagSet) error {
	for _, beside := range []struct {
		on      bool
		name    string // of the other flag
		why     string // it leaves these without a use
		useless string
	}{
		{on: o.direct, name: "direct", why: "runs without a driver VM", useless: "device iommu shadow nic nic-port newest-kernel smp vvufwd-args capture app-vms isolate"},
		{on: o.direct && !o.bench.on, name: "direct", why: "runs without vvufwd and vvudev", useless: "bin"},
		{on: o.matrix != "", name: "matrix", why: "sets the machines up itself", useless: "app-vms isolate direct frames restarts rebinds keep tap app-net-opts iommu device nic nic-port newest-kernel idle capture shadow"},
		{on: o.bench.on, name: "pktgen", why: "is a measurement", useless: "app-vms isolate matrix keep frames idle restarts rebinds transfer capture"},
		{on: o.print, name: "print", why: "boots nothing", useless: "matrix pktgen keep json frames idle restarts rebinds transfer verbose"},
		{on: o.appVMs > 1, name: "app-vms", why: "shows a switch", useless: "frames restarts rebinds idle"},
		{on: o.bench.otherImage != "", name: "other-image", why: "has something else forward", useless: "vvufwd-args"},
	} {
		if !beside.on {
			continue
		}
		for name := range strings.FieldsSeq(beside.useless) {
			if o.asked(fs, name) {
				return cli.Usagef("--%s %s: drop --%s, or --%s", beside.name, beside.why, name, beside.name)
			}
		}
	}
	return nil
}

// asked reports whether a flag was given, to say what is not so without it. The values of some do not tell that.
func (o *options) asked(fs *flag.FlagSet, name string) bool {
	switch name {
	case "iommu":
		return o.iommu != machine.Intel
	case "nic-port":
		return o.nicPort.OfKernel()
	case "json":
		return o.json != jsonOption{}
	}
	f := fs.Lookup(name)
	return cli.Given(fs, name) && !slices.Contains([]string{f.DefValue, "false", "0", "0s"}, f.Value.String())
}
