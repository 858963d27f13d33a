package vvu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"go.uber.org/zap"

	virtiopci "vvufwd/virtio/pci"
)

// peerMemory is how the memory that front-ends share is reached, and what is known of how fast
// that is.
type peerMemory struct {
	through  string // "/dev/mem" or "VFIO"
	why      error  // not through /dev/mem
	measured bool
	log      *zap.Logger // nil: it is not to be measured
}

// ramMapper is a PCIDevice that can map a BAR as the RAM that it is; *vfio.Device is one.
type ramMapper interface {
	MapRAM(bar int, off, size uint64, devmem *os.File) error
}

// errNoDevMem is why memory is not mapped through /dev/mem without one.
var errNoDevMem = errors.New("there is no /dev/mem to map it through; that takes CAP_SYS_RAWIO, and a kernel with CONFIG_DEVMEM that is not locked down")

// MapMemory maps the memory that front-ends share in a way in which processors cache it, if
// there is one, and for good; devmem is /dev/mem or nil, and may be closed afterwards. Otherwise
// it is mapped through VFIO whenever a front-end comes. The log says what it has become. Call it
// before NewEndpoint.
func (d *Device) MapMemory(devmem *os.File, log *zap.Logger) {
	d.memory = peerMemory{through: "VFIO", why: d.mapRAM(devmem), log: log}
	if d.memory.why == nil {
		d.memory.through = "/dev/mem"
	}
	if runtime.GOARCH == "arm64" {
		log.Warn("the memory of app VMs is mapped as device memory, as all that Linux maps of PCI devices on arm64: it is not cached, and processors refuse unaligned " +
			"accesses to it, so that ports may fail; vvufwd was never run on arm64")
	}
	shm := d.caps.SharedMemory
	if d.memory.why != nil {
		log.Info("the memory of app VMs is mapped through VFIO", zap.NamedError("and not /dev/mem", d.memory.why))
		return
	}
	mem, err := d.pci.MapBAR(shm.BAR, shm.Offset, page)
	if err != nil {
		return // it was mapped as a whole
	}
	d.measure(mem)
}

// mapRAM maps all shared memory through /dev/mem.
func (d *Device) mapRAM(devmem *os.File) error {
	shm := d.caps.SharedMemory
	for _, registers := range []virtiopci.Location{d.caps.Common, d.caps.Notify, d.caps.ISR, d.caps.Device, d.caps.Doorbell, d.caps.Notification} {
		if registers.Present && registers.BAR == shm.BAR {
			return fmt.Errorf("BAR %d has registers too, as in the QEMU fork's device", shm.BAR)
		}
	}
	mapper, ok := d.pci.(ramMapper)
	switch {
	case runtime.GOARCH != "amd64":
		return fmt.Errorf("on %s that would not be cached either", runtime.GOARCH)
	case !ok || devmem == nil:
		return errNoDevMem
	}
	return mapper.MapRAM(shm.BAR, shm.Offset, shm.Length&^(page-1), devmem)
}

// slowMemory is from how many times the time of ordinary memory on a port is worth a warning:
// cached memory takes about as long, uncached a hundred times.
const slowMemory = 10

// measure says how long reading mem, which a front-end shares, takes in comparison with
// memory of our own. It does so once.
func (d *Device) measure(mem []byte) {
	if d.memory.log == nil || d.memory.measured || len(mem) < page {
		return
	}
	d.memory.measured = true
	shared, own := loadTime(mem[:page]), loadTime(make([]byte, page))
	if shared > 0 && own > 0 { // else it vanished
		d.memory.say(shared, own)
	}
}

// say says what came of measuring: how long it took to read a page, and one of our own.
func (m *peerMemory) say(shared, own time.Duration) {
	ratio := float64(shared) / float64(own)
	nanoseconds := func(t time.Duration) float64 { return float64(t.Nanoseconds()) / (page / 8) }
	fields := []zap.Field{
		zap.String("through", m.through), zap.Float64("ns a load", nanoseconds(shared)), zap.Float64("of ordinary memory", nanoseconds(own)),
	}
	if ratio <= slowMemory {
		m.log.Info("the memory of app VMs is as fast as ordinary memory", fields...)
		return
	}
	m.log.Warn(fmt.Sprintf("the memory of app VMs is %.0f times as slow as ordinary memory: it is not cached; %s", ratio, m.remedy()), fields...)
}

// remedy says what to do about slow memory.
func (m *peerMemory) remedy() string {
	if m.why == nil {
		return "the firmware's MTRRs say so (see /proc/mtrr in the driver VM): use SeaBIOS, QEMU's default, with which large BARs lie above 4 GiB"
	}
	return fmt.Sprintf("VFIO maps it so, and KVM on AMD's processors honours that. It is mapped through /dev/mem as /init or with CAP_SYS_RAWIO, behind vvudev's device, by a kernel that allows it (iomem=relaxed); here not, because %v", m.why)
}

// loadTime is the least time that reading all of mem took, or 0 if that failed. It gives up early if
// each load takes microseconds.
func loadTime(mem []byte) (least time.Duration) {
	defer func() {
		if recover() != nil { // memory that vanished
			least = 0
		}
	}()
	const tries, patience = 8, 10 * time.Millisecond
	var sum uint64
	begin := time.Now()
	for range tries {
		start := time.Now()
		for i := 0; i < len(mem); i += 8 {
			sum += binary.LittleEndian.Uint64(mem[i:])
		}
		if took := time.Since(start); least == 0 || took < least {
			least = max(took, 1)
		}
		if time.Since(begin) > patience {
			break
		}
	}
	runtime.KeepAlive(sum)
	return least
}
