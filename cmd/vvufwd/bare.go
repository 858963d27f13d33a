package main

import (
	"slices"

	"go.uber.org/zap"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// openBare opens the functions that no IOMMU confines, if that was asked for. It
// takes privileges that are given up soon after.
func (o *options) openBare(log *zap.Logger) (err error) {
	if !o.noIOMMU {
		return nil
	}
	o.bare, err = vfio.OpenBare(o.functions(), vfio.BareConfig{Bind: o.bind, Pages: o.pagesFor})
	if err != nil {
		return err
	}
	o.held = o.bare.Held()
	if functions := o.bare.Functions(); len(functions) > 0 {
		log.Warn("NO IOMMU confines these functions: one that is fooled, by a frame or by its firmware, or a vvufwd that is taken over, "+
			"reads and writes all of this machine's memory; do not run anything else in it",
			zap.Stringers("functions", functions), zap.Int("huge pages", o.bare.Pages()))
		return nil
	}
	log.Info("--noiommu: all functions are behind an IOMMU, which confines them")
	return nil
}

// pagesFor is how many huge pages functions without an IOMMU take: all that there are to
// be, less what others take.
func (o *options) pagesFor(bare []pci.Address) int {
	var these []portSpec
	others := 0
	for _, p := range o.ports {
		switch {
		case p.onPCI() && slices.Contains(bare, p.addr):
			these = append(these, p)
		case p.onPCI() && p.uplink():
			others += hugePagesEachNIC
		}
	}
	return max(hugePagesFor(these), o.hugePages-others)
}
