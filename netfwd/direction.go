package netfwd

import virtionet "vvufwd/virtio/net"

// direction carries frames from one port to another.
type direction struct {
	src, dst Port
	frames   [virtionet.MaxBurst]virtionet.Frame
	n        int // frames handed out by src
	sent     int // of these, done with
}

// step moves one burst and reports whether anything moved. Frames for which dst
// has no room are kept for the next step.
func (d *direction) step() bool {
	if d.sent == d.n {
		d.n, d.sent = d.src.RxBurst(d.frames[:]), 0
		if d.n == 0 {
			return false
		}
	}
	done := d.dst.TxBurst(d.frames[d.sent:d.n])
	if done == 0 {
		return false
	}
	d.sent += done
	d.src.Release(done)
	return true
}

// blocked reports whether frames wait for room at dst.
func (d *direction) blocked() bool { return d.sent < d.n }

// forget lets go of frames that src has abandoned.
func (d *direction) forget() { d.n, d.sent = 0, 0 }
