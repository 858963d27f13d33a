package vvutest

import (
	"slices"

	"golang.org/x/sys/unix"
)

const logPage = 4096 // bytes that one bit of a log stands for

// Log says which pages of a guest were written, by a bit each (VHOST_USER_SET_LOG_BASE).
type Log []byte

// Has reports whether the page of a guest-physical address was written.
func (l Log) Has(gpa uint64) bool {
	page := gpa / logPage
	return page/8 < uint64(len(l)) && l[page/8]>>(page%8)&1 != 0
}

// newLog makes a log as long as the guest's memory asks for, in place of the last one.
func (p *Player) newLog() (fd int, err error) {
	last := uint64(0)
	for _, r := range p.cfg.Regions {
		last = max(last, r.GPA+r.Size-1)
	}
	p.oldLog, p.oldLogFD = p.log, p.logFD
	p.log = nil
	if fd, err = unix.MemfdCreate("log", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return -1, err
	}
	p.logFD = fd
	size := int64(last/(logPage*8) + 1)
	if err := unix.Ftruncate(fd, size); err != nil {
		return fd, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		return fd, err
	}
	p.log, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return fd, err
}

// takeLog takes what is in the log that was replaced, once that is acknowledged.
func (p *Player) takeLog() {
	if p.oldLog != nil {
		p.Log = slices.Clone(p.oldLog)
		p.forget(p.oldLog, p.oldLogFD)
		p.oldLog = nil
	}
}

func (p *Player) forget(log []byte, fd int) {
	if log != nil {
		unix.Munmap(log)
		unix.Close(fd)
	}
}

// Written are the guest-physical addresses that a back-end writes to when all buffers of a
// ring come and go: the buffers, if it is a receive ring, and the used ring.
func (p *Player) Written(ring int) (addresses []uint64, err error) {
	q := p.queues[ring]
	desc, _, used := q.Addresses()
	offsets := []uint64{q.at + used - desc, q.at + used - desc + uint64(4+8*q.entries)}
	for head := 0; ring%2 == 0 && head < q.entries; head++ {
		offsets = append(offsets, q.at+buffersAt+uint64(head)*bufferBytes)
	}
	for _, at := range offsets {
		a, err := gpa(p.cfg.Regions, at)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}

// Unwritten is where a transmit ring has its buffers, to which no one writes but the guest.
func (p *Player) Unwritten(ring int) (addresses []uint64, err error) {
	q := p.queues[ring]
	for head := range q.entries {
		a, err := gpa(p.cfg.Regions, q.at+buffersAt+uint64(head)*bufferBytes)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}
