package vhostuser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// flight is the memory in which a back-end tracks what it has in its hands, as the
// front-end keeps it.
type flight struct {
	Inflight
	fd   int
	kept bool
}

// track gives the back-end an inflight region: new memory, which it makes, if rings
// begin again, and else what the one before had.
func (f *Frontend) track() {
	if !f.protocol.Has(ProtoInflightShmFD) || f.err != nil {
		return
	}
	if f.fresh || !f.flight.kept {
		f.DropInflight()
		f.send(NewRequest(GetInflightFD, Inflight{Queues: uint16(len(f.cfg.Rings)), QueueSize: uint16(f.cfg.Rings[0].Num)}))
		m := f.receive(GetInflightFD)
		if f.err != nil {
			return
		}
		if err := f.flight.Decode(m.Payload); err != nil || len(m.FDs) != 1 || f.flight.Size == 0 {
			m.CloseFDs()
			f.fail(fmt.Errorf("the back-end makes no inflight region: %v, %v", m, err))
			return
		}
		f.flight.fd, f.flight.kept = m.FDs[0], true
	}
	f.tell(SetInflightFD, f.flight.Inflight, f.flight.fd)
}

// Inflight is the memory that the front-end keeps, if it does; the file stays its own.
func (f *Frontend) Inflight() (v Inflight, fd int, kept bool) {
	return f.flight.Inflight, f.flight.fd, f.flight.kept
}

// DropInflight releases it.
func (f *Frontend) DropInflight() {
	if f.flight.kept {
		unix.Close(f.flight.fd)
	}
	f.flight = flight{}
}
