package socket

import (
	"errors"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

// takeLog keeps the file of a dirty log, in place of the one before.
func (c *carrier) takeLog(fd int) {
	if c.log >= 0 {
		c.retired = append(c.retired, c.log)
	}
	c.log = fd
}

// MapLog maps the first need bytes of a dirty log. Its file is a peer's like those of
// memory regions, and has to be one that lies in memory, too.
func (c *carrier) MapLog(l vhostuser.Log, need uint64) (*session.LogMemory, error) {
	if c.log < 0 {
		return nil, errors.New("it came without its file descriptor")
	}
	whole, skip, err := mapFile(c.log, l.Offset, need)
	if err != nil {
		return nil, err
	}
	return &session.LogMemory{
		Words: whole, Skip: skip, Size: need, Unmap: func() error { return unix.Munmap(whole) },
	}, nil
}
