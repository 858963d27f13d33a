package vvutest

import (
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/virtio"
)

func (f *Fork) loadResource(_ *mmiotest.Fake, a mmiotest.Access) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Width != 2 || a.Offset < notificationsAt {
		f.t.Errorf("fork: %v: only the notification registers can be read, 2 bytes each", a)
		return 0
	}
	if a.Offset == notificationsAt {
		return uint64(f.notifySelect)
	}
	return uint64(f.rings[f.notifySelect].vector)
}

func (f *Fork) storeResource(_ *mmiotest.Fake, a mmiotest.Access) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Width != 2 {
		f.t.Errorf("fork: %v: all these registers have 2 bytes", a)
		return
	}
	switch {
	case a.Offset == notificationsAt:
		if a.Value < forkRings { // else ignored
			f.notifySelect = uint16(a.Value)
		}
	case a.Offset == notificationsAt+2:
		f.setRingVector(int(f.notifySelect), uint16(a.Value))
	case a.Offset >= notificationsAt:
		f.t.Errorf("fork: %v: no such register", a)
	default:
		f.doorbell(a)
	}
}

// doorbell is the ioeventfd of a ring's call. The contract's driver stores the
// number of the ring there (6.1).
func (f *Fork) doorbell(a mmiotest.Access) {
	ring := a.Offset / doorbellStride
	if a.Offset%doorbellStride != 0 || a.Value != ring || ring >= forkRings {
		f.t.Errorf("fork: %v: not the number of the ring at its doorbell", a)
		return
	}
	if call := f.rings[ring].call; call >= 0 {
		signal(call)
	}
}

// setCall replaces the call of a ring (-1: none) and owns fd. mu is held.
func (f *Fork) setCall(ring, fd int) {
	if old := f.rings[ring].call; old >= 0 {
		unix.Close(old)
	}
	f.rings[ring].call = fd
}

// setKick replaces the kick of a ring (-1: none) and owns fd. mu is held.
func (f *Fork) setKick(ring, fd int) {
	r := &f.rings[ring]
	if r.kick != nil {
		r.kick.Close()
		r.kick = nil
	}
	if fd < 0 {
		return
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		f.t.Errorf("fork: kick of ring %d: %v", ring, err)
	}
	file := os.NewFile(uintptr(fd), "kick")
	r.kick = file
	f.workers.Go(func() { f.watchKick(ring, file) })
}

// watchKick turns kicks of the app VM's guest into the ring's vector; a kick that
// finds none is lost.
func (f *Fork) watchKick(ring int, kick *os.File) {
	var count [8]byte
	for {
		if _, err := kick.Read(count[:]); err != nil {
			return // closed
		}
		f.mu.Lock()
		if f.rings[ring].kick == kick && f.rings[ring].vector != virtio.NoVector {
			f.interrupt(f.rings[ring].vector)
		}
		f.mu.Unlock()
	}
}

// HasKick reports whether the device holds a kick of a ring.
func (f *Fork) HasKick(ring int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rings[ring].kick != nil
}
