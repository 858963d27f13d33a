package socket

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/session"
)

// newInflightFile makes the file whose memory front-ends of one endpoint get to track rings
// in. It is made before the program gives up its privileges, as large as can be: what is
// not used of it does not exist. Front-ends have it as well, and cannot take the memory away.
func newInflightFile(size int64) (fd int, err error) {
	if fd, err = unix.MemfdCreate("inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return -1, fmt.Errorf("inflight region: %w", err)
	}
	err = unix.Ftruncate(fd, size)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("inflight region: %w", err)
	}
	return fd, nil
}

// takeInflight keeps the file of memory that rings are tracked in, in place of the one
// before.
func (c *carrier) takeInflight(fd int) {
	if c.flight >= 0 {
		c.retired = append(c.retired, c.flight)
	}
	c.flight = fd
}

// NewInflight hands the endpoint's file out, zeroed where it is going to be used. Front-ends
// come one after the other, so there is one user at a time.
func (c *carrier) NewInflight(size uint64) (fd int, err error) {
	if c.ownFlight < 0 {
		return -1, errors.New("there is none")
	}
	m, err := mapInflight(c.ownFlight, 0, size)
	if err != nil {
		return -1, err
	}
	clear(m.Bytes)
	return c.ownFlight, m.Unmap()
}

// MapInflight maps the part of the file that came with the last SET_INFLIGHT_FD. It may be
// one of another back-end's making, or a front-end's own.
func (c *carrier) MapInflight(offset, size uint64) (*session.InflightMemory, error) {
	if c.flight < 0 {
		return nil, errors.New("it came without its file descriptor")
	}
	return mapInflight(c.flight, offset, size)
}

func mapInflight(fd int, offset, size uint64) (*session.InflightMemory, error) {
	whole, skip, err := mapFile(fd, offset, size)
	if err != nil {
		return nil, err
	}
	return &session.InflightMemory{Bytes: whole[skip : skip+size : skip+size], Unmap: func() error { return unix.Munmap(whole) }}, nil
}
