package main

import (
	"os"
	"slices"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/confine"
)

// devmemFile is through what the memory of app VMs is mapped so that it is cached. Whoever has
// it open reaches all devices of the machine, and with some kernels all memory: it is closed as
// soon as the ports are open, and is never there when bytes of a peer are looked at.
const devmemFile = "/dev/mem"

// openDevMem opens it while that is possible, if there is a use for it.
func (o *options) openDevMem(log *zap.Logger) {
	if !slices.ContainsFunc(o.ports, func(p portSpec) bool { return p.kind == "vvu" }) {
		return
	}
	f, err := os.OpenFile(devmemFile, os.O_RDWR, 0)
	if err != nil {
		log.Info("the memory of app VMs cannot be mapped through "+devmemFile, zap.Error(err)) // a warning comes if it is slow
		return
	}
	o.devmem = f
}

// handDevMem adds it to the files that this process hands over to the one that it becomes.
func (o *options) handDevMem(files map[string]*os.File) {
	if o.devmem != nil {
		files[devmemFile] = o.devmem
	}
}

// inheritDevMem takes it over from the vvufwd that this one was.
func (o *options) inheritDevMem() { o.devmem = confine.Inherited(devmemFile) }

// closeDevMem closes it, if it is open.
func (o *options) closeDevMem() {
	if o.devmem != nil {
		o.devmem.Close()
		o.devmem = nil
	}
}
