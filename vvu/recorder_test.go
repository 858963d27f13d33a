package vvu

import (
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
	virtiopci "vvufwd/virtio/pci"
)

// access is one register access of the driver.
type access struct {
	bar   int
	off   uint64
	width int
	write bool
	value uint64
}

func (a access) String() string {
	verb := "read"
	if a.write {
		verb = "write"
	}
	return fmt.Sprintf("%s%d BAR %d + %#x: %#x", verb, 8*a.width, a.bar, a.off, a.value)
}

// recorder is a PCI function that keeps a record of what a driver does with it.
type recorder struct {
	PCIDevice

	mu    sync.Mutex
	log   []access
	views map[*byte][]byte
	gone  bool // see vanish
}

// vanish makes all registers those of a device that is not there any more: reads give ones
// and writes go nowhere. Memory that is mapped stays, as QEMU has it when the program that
// provides a device has ended.
func (r *recorder) vanish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

func (r *recorder) vanished() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

func newRecorder(pci PCIDevice) *recorder {
	return &recorder{PCIDevice: pci, views: map[*byte][]byte{}}
}

// accesses returns what was recorded.
func (r *recorder) accesses() []access {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]access(nil), r.log...)
}

// forget drops the record so far.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = nil
}

// within returns the recorded accesses to a structure, their offsets relative to it.
func (r *recorder) within(at virtiopci.Location) []access {
	var found []access
	for _, a := range r.accesses() {
		if a.bar == at.BAR && a.off-at.Offset < at.Length {
			a.off -= at.Offset
			found = append(found, a)
		}
	}
	return found
}

// doorbells counts how often a ring's doorbell was rung.
func (r *recorder) doorbells(d *Device, ring int) (n int) {
	for _, a := range r.within(d.caps.Doorbell) {
		if a.write && a.off == d.doorbellOffset(ring) {
			n++
		}
	}
	return n
}

// checkRules checks what holds for every access after the device was opened: the
// width of doorbells and status accesses, and the values written to them.
func (r *recorder) checkRules(t *testing.T, d *Device) {
	t.Helper()
	for _, a := range r.within(d.caps.Doorbell) {
		if !a.write || a.width != 2 || a.off%uint64(d.caps.DoorbellMultiplier) != 0 || a.value != a.off/uint64(d.caps.DoorbellMultiplier) {
			t.Errorf("doorbells: %v: want 2-byte writes of the ring's number at its doorbell", a)
		}
	}
	for _, a := range r.within(d.caps.Device) {
		switch {
		case a.write && (a.off != cfgStatus && !(a.off == cfgLink && d.hasLink) || a.width != 4 || a.value > 1):
			t.Errorf("device configuration: %v: only the status may be written, and the link if there is one, 0 or 1, in whole", a)
		case !a.write && a.off < cfgMaxQueues && (a.off != cfgStatus || a.width != 4):
			t.Errorf("device configuration: %v: the status is to be read in whole", a)
		}
	}
}

// forbid makes every access to the guest's memory a fault until the device or the
// driver maps it again.
func (r *recorder) forbid(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.views) == 0 {
		t.Fatal("no guest memory is mapped")
	}
	for _, v := range r.views {
		if err := unix.Mprotect(v, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
}

// mapped is the number of mappings of guest memory.
func (r *recorder) mapped() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.views)
}

func (r *recorder) MapBAR(bar int, offset, size uint64) ([]byte, error) {
	v, err := r.PCIDevice.MapBAR(bar, offset, size)
	if err == nil {
		r.mu.Lock()
		r.views[&v[0]] = v
		r.mu.Unlock()
	}
	return v, err
}

func (r *recorder) Unmap(v []byte) error {
	r.mu.Lock()
	delete(r.views, &v[0])
	r.mu.Unlock()
	return r.PCIDevice.Unmap(v)
}

func (r *recorder) BAR(i int) (mmio.Space, error) {
	s, err := r.PCIDevice.BAR(i)
	if err != nil {
		return nil, err
	}
	return &recordedSpace{r: r, bar: i, s: s}, nil
}

// recordedSpace records accesses before stores and after loads.
type recordedSpace struct {
	r   *recorder
	bar int
	s   mmio.Space
}

func (s *recordedSpace) note(write bool, off uint64, width int, v uint64) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.log = append(s.r.log, access{s.bar, off, width, write, v})
}

func (s *recordedSpace) Len() uint64 { return s.s.Len() }

func (s *recordedSpace) Load8(off uint64) uint8 {
	v := ^uint8(0)
	if !s.r.vanished() {
		v = s.s.Load8(off)
	}
	s.note(false, off, 1, uint64(v))
	return v
}

func (s *recordedSpace) Load16(off uint64) uint16 {
	v := ^uint16(0)
	if !s.r.vanished() {
		v = s.s.Load16(off)
	}
	s.note(false, off, 2, uint64(v))
	return v
}

func (s *recordedSpace) Load32(off uint64) uint32 {
	v := ^uint32(0)
	if !s.r.vanished() {
		v = s.s.Load32(off)
	}
	s.note(false, off, 4, uint64(v))
	return v
}

func (s *recordedSpace) Load64(off uint64) uint64 {
	low := s.Load32(off)
	return uint64(low) | uint64(s.Load32(off+4))<<32
}

func (s *recordedSpace) Store8(off uint64, v uint8) {
	s.note(true, off, 1, uint64(v))
	if !s.r.vanished() {
		s.s.Store8(off, v)
	}
}

func (s *recordedSpace) Store16(off uint64, v uint16) {
	s.note(true, off, 2, uint64(v))
	if !s.r.vanished() {
		s.s.Store16(off, v)
	}
}

func (s *recordedSpace) Store32(off uint64, v uint32) {
	s.note(true, off, 4, uint64(v))
	if !s.r.vanished() {
		s.s.Store32(off, v)
	}
}

func (s *recordedSpace) Store64(off uint64, v uint64) {
	s.Store32(off, uint32(v))
	s.Store32(off+4, uint32(v>>32))
}
