package socket

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

// carrier keeps the file descriptors of one connection. What a message replaces
// is retired, and closed by sweep when the session has released it.
type carrier struct {
	events  *peerfd.Set // the endpoint's
	bin     *peerfd.Bin // the endpoint's
	memory  memory
	kicks   []*peerfd.Event // by ring, nil where there is none
	calls   []*peerfd.Event
	retired []int
	silent  []*peerfd.Event // retired too
	log     int             // file of the dirty log, or -1
	flight  int             // file of the memory that rings are tracked in, or -1

	ownFlight int // the endpoint's, for those who ask for one, or -1
}

func newCarrier(events *peerfd.Set, bin *peerfd.Bin, rings int) *carrier {
	return &carrier{
		events: events, bin: bin, memory: newMemory(),
		kicks: make([]*peerfd.Event, rings), calls: make([]*peerfd.Event, rings), log: -1, flight: -1, ownFlight: -1,
	}
}

// take takes a message's descriptors over, before the session handles it. It
// looks at them only; whether the message is right is the session's business.
func (c *carrier) take(m *vhostuser.Message) error {
	switch m.Request {
	case vhostuser.SetMemTable:
		var t vhostuser.MemoryTable
		if t.Decode(m.Payload) != nil || len(t) != len(m.FDs) {
			break // the session refuses it
		}
		if err := c.memory.replace(); err != nil {
			c.retired = append(c.retired, m.FDs...)
			return err
		}
		for i, r := range t {
			c.addRegion(r, m.FDs[i])
		}
		return nil
	case vhostuser.AddMemReg:
		var r vhostuser.SingleRegion
		if r.Decode(m.Payload) != nil || len(m.FDs) != 1 {
			break
		}
		c.addRegion(vhostuser.MemoryRegion(r), m.FDs[0])
		return nil
	case vhostuser.SetLogBase:
		if len(m.FDs) == 1 {
			c.takeLog(m.FDs[0])
			return nil
		}
	case vhostuser.SetInflightFD:
		if len(m.FDs) == 1 {
			c.takeInflight(m.FDs[0])
			return nil
		}
	case vhostuser.SetVringKick:
		return c.takeEvent(m, c.kicks)
	case vhostuser.SetVringCall:
		return c.takeEvent(m, c.calls)
	}
	c.retired = append(c.retired, m.FDs...)
	return nil
}

func (c *carrier) addRegion(r vhostuser.MemoryRegion, fd int) {
	if old := c.memory.bring(r, fd); old >= 0 {
		c.retired = append(c.retired, old)
	}
}

// takeEvent stores the eventfd of a kick or call message.
func (c *carrier) takeEvent(m *vhostuser.Message, slots []*peerfd.Event) error {
	var v vhostuser.VringFD
	if v.Decode(m.Payload) != nil || int(v.Index) >= len(slots) || len(m.FDs) > 1 {
		c.retired = append(c.retired, m.FDs...)
		return nil
	}
	var event *peerfd.Event
	if len(m.FDs) == 1 {
		var err error
		if event, err = c.events.Event(m.FDs[0]); err != nil {
			c.retired = append(c.retired, m.FDs[0])
			return fmt.Errorf("%v for ring %d: %w", m.Request, v.Index, err)
		}
	}
	c.silent = append(c.silent, slots[v.Index])
	slots[v.Index] = event
	return nil
}

// sweep closes what no one uses any more: after the session has handled a
// message, and so has installed what the message brought.
func (c *carrier) sweep(known func() []vhostuser.MemoryRegion) error {
	files, err := c.memory.sweep(known)
	c.discard(files)
	return err
}

func (c *carrier) discard(files []int) {
	c.bin.Discard(append(c.retired, files...)...)
	c.retired = c.retired[:0]
	for _, e := range c.silent {
		e.Close()
	}
	c.silent = c.silent[:0]
}

// close closes everything, after the session has been reset.
func (c *carrier) close() error {
	c.takeLog(-1)
	c.takeInflight(-1)
	for _, slots := range [][]*peerfd.Event{c.kicks, c.calls} {
		c.silent = append(c.silent, slots...)
		clear(slots)
	}
	files, err := c.memory.close()
	c.discard(files)
	return err
}

// Map gives access to regions of the front-end's memory.
func (c *carrier) Map(regions []vhostuser.MemoryRegion) (*session.Memory, error) {
	return c.memory.table(regions)
}

// mapRegion maps a region's part of its file. The session has checked that offset and size
// do not wrap.
func mapRegion(fd int, r vhostuser.MemoryRegion) (view, whole []byte, err error) {
	whole, skip, err := mapFile(fd, r.Offset, r.Size)
	if err != nil {
		return nil, nil, err
	}
	return whole[skip : skip+r.Size : skip+r.Size], whole, nil
}

// mapFile maps size bytes at offset of a file, which has to be in memory: they are
// whole[skip:skip+size]. A file that is shorter would raise
// SIGBUS when touched, so its length is checked here; a front-end that cuts it
// later is caught by the loop.
func mapFile(fd int, offset, size uint64) (whole []byte, skip uint64, err error) {
	if err := peerfd.InMemory(fd); err != nil { // before anything else is asked of the file
		return nil, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, err
	}
	if end := offset + size; st.Size < 0 || end > uint64(st.Size) {
		return nil, 0, fmt.Errorf("its file of %d bytes ends before the region does, at %d", st.Size, end)
	}
	// Huge-page files are mapped in units of their page size.
	unit := uint64(max(st.Blksize, 4096))
	if unit&(unit-1) != 0 {
		unit = 4096
	}
	start := offset &^ (unit - 1)
	end := min((offset+size+unit-1)&^(unit-1), (uint64(st.Size)+4095)&^4095)
	// No huge pages are reserved for a file that its owner has not reserved any for.
	whole, err = unix.Mmap(fd, int64(start), int(end-start), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, 0, fmt.Errorf("map %d bytes of its file: %w", end-start, err)
	}
	return whole, offset - start, nil
}

// KickFD is the eventfd by which the guest kicks a ring, -1 if there is none.
func (c *carrier) KickFD(ring int) int { return c.kicks[ring].FD() }

// Doorbell returns the call eventfd of a ring, nil if there is none.
func (c *carrier) Doorbell(ring int) guest.Doorbell {
	if c.calls[ring] == nil {
		return nil
	}
	return c.calls[ring]
}
