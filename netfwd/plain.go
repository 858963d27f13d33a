package netfwd

import virtionet "vvufwd/virtio/net"

// plainPort is a port that takes part in the short way of plain frames, which is most
// of the way of most frames. Its calls belong to the loop, as Port's do.
type plainPort interface {
	Port
	// ReadPlain and WritePlain find frames and places for them; other says, when
	// there are none, that RxBurst or TxBurst is to be asked. FinishRead and
	// FinishWrite come when the frames have been copied.
	ReadPlain(b *virtionet.Burst) (n int, other bool)
	WritePlain(b *virtionet.Burst, n int) (m int, other bool)
	FinishRead(b *virtionet.Burst, n int)
	FinishWrite(b *virtionet.Burst, n int)
}

// shortWay carries plain frames of a direction: of one queue pair that always sends to
// the same other one.
type shortWay struct {
	src, dst plainPort
	burst    virtionet.Burst
	waits    bool // plain frames wait at src for room at dst
}

// newShortWay is the short way from src to dst, or nil if there is none.
func newShortWay(src, dst Port) *shortWay {
	from, ok := src.(plainPort)
	if !ok {
		return nil
	}
	to, ok := dst.(plainPort)
	if !ok {
		return nil
	}
	return &shortWay{src: from, dst: to}
}

// rest says that the way is not taken for now: what waited there is another's business.
func (w *shortWay) rest() {
	if w != nil {
		w.waits = false
	}
}

// step moves one burst and reports whether it did, and if not, whether there may be
// something for the long way.
func (w *shortWay) step() (moved, other bool) {
	w.waits = false
	b := &w.burst
	n, other := w.src.ReadPlain(b)
	if n == 0 {
		return false, other
	}
	m, other := w.dst.WritePlain(b, n)
	if m == 0 {
		w.waits = !other
		return false, other
	}
	b.Copy(m)
	w.dst.FinishWrite(b, m)
	w.src.FinishRead(b, m)
	return true, false
}
