package shadow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/shadow"
)

// withHeader puts a virtio-net header before a frame, which announces buffers.
func withHeader(buffers int, frame []byte, h virtionet.Header) []byte {
	h.NumBuffers = uint16(buffers)
	var raw [virtionet.HeaderLen]byte
	h.Put(&raw)
	return append(raw[:], frame...)
}

// passes sends a frame each way over a session.
func (r *evilRig) passes(e *evil) {
	r.t.Helper()
	in, out := frame(1), frame(2)
	e.arrive(withHeader(1, in, virtionet.Header{}))
	got, err := r.wire.Pop()
	must(r.t, err)
	if !bytes.Equal(got, in) {
		r.t.Fatalf("a frame from the driver VM differs: % x…", got[:min(len(got), 32)])
	}
	r.wire.Push(out)
	var c vring.Chain
	q := e.ring(1)
	eventually(r.t, "a frame for the driver VM", func() bool {
		q.Available()
		return q.Pop(&c)
	})
	var sent []byte
	for _, v := range c.Read {
		sent = append(sent, v...)
	}
	if !bytes.Equal(sent[virtionet.HeaderLen:], out) {
		r.t.Fatalf("a frame for the driver VM differs: % x…", sent[:min(len(sent), 32)])
	}
	q.ResetViews()
	q.Push(c.Head, 0)
	q.Publish()
	e.call(1)
}

// usedSplit completes things in a split ring, behind the device's back: it moves the index on by n over
// elements of that content.
func (e *evil) usedSplit(ring, n int, id, length uint32) {
	used := e.part(e.backend.Ring(ring).Used)
	le := binary.LittleEndian
	idx := le.Uint16(used[2:])
	for i := range n {
		at := 4 + 8*(int(idx)+i)%(8*256)
		le.PutUint32(used[at:], id)
		le.PutUint32(used[at+4:], length)
	}
	le.PutUint16(used[2:], idx+uint16(n))
	e.call(ring)
}

// usedPacked does so in the first slots of a packed ring, on its first lap.
func (e *evil) usedPacked(ring, n int, id, length uint32) {
	desc := e.part(e.backend.Ring(ring).Desc)
	le := binary.LittleEndian
	for i := range n {
		le.PutUint32(desc[16*i+8:], length)
		le.PutUint16(desc[16*i+12:], uint16(id))
		le.PutUint16(desc[16*i+14:], vring.DescAvail|vring.DescUsed)
	}
	e.call(ring)
}

// What a driver may do to break a device's rules (contract, section 8), from the other side: each costs the
// driver VM the session, and the next session works.
func TestBrokenRings(t *testing.T) {
	used := func(ring, n int, id, length uint32) func(e *evil) {
		return func(e *evil) {
			if e.packed() {
				e.usedPacked(ring, n, id, length)
			} else {
				e.usedSplit(ring, n, id, length)
			}
		}
	}
	for _, test := range []struct {
		name   string
		ring   string
		attack func(e *evil)
		want   vring.Fault
		format string // that it is for; empty: both
	}{
		{"index ahead", "receive", func(e *evil) {
			binary.LittleEndian.PutUint16(e.part(e.backend.Ring(0).Used)[2:], 300)
			e.call(0)
		}, vring.FaultUsedIndex, "split"},
		{"index behind", "receive", func(e *evil) {
			binary.LittleEndian.PutUint16(e.part(e.backend.Ring(0).Used)[2:], 0xffff)
			e.call(0)
		}, vring.FaultUsedIndex, "split"},
		{"more than was sent", "transmit", used(1, 1, 0, 0), vring.FaultUsedIndex, "split"},
		{"what was not sent", "transmit", used(1, 1, 0, 0), vring.FaultUsedID, "packed"},
		{"name outside the ring", "receive", used(0, 1, 256, 60), vring.FaultUsedID, ""},
		{"name far outside the ring", "receive", used(0, 1, 0xffff, 60), vring.FaultUsedID, ""},
		{"name with high bits", "receive", used(0, 1, 1<<31, 60), vring.FaultUsedID, "split"},
		{"the same name twice", "receive", used(0, 2, 7, 100), vring.FaultUsedID, ""},
		{"longer than the buffer", "receive", used(0, 1, 3, 2049), vring.FaultUsedLen, ""},
		{"longest", "receive", used(0, 1, 3, 0xffffffff), vring.FaultUsedLen, ""},
	} {
		for _, packed := range []bool{false, true} {
			format := map[bool]string{false: "split", true: "packed"}[packed]
			if test.format != "" && test.format != format {
				continue
			}
			t.Run(format+"/"+test.name, func(t *testing.T) {
				r := newEvilRig(t, packed)
				e := r.connect(1)
				if test.ring == "transmit" { // completions are looked at when there is something to send
					test.attack(e)
					r.wire.Push(frame(9))
				} else {
					test.attack(e)
				}
				want := test.want.Error()
				eventually(t, "the end of the session", func() bool {
					for _, l := range r.logs.FilterMessage("ended the session with the driver VM").All() {
						if text := fmt.Sprint(l.ContextMap()["error"]); strings.Contains(text, want) && strings.Contains(text, "the "+test.ring+" ring") {
							return true
						}
					}
					return false
				})
				r.passes(r.session())
			})
		}
	}
}

// What is no fault of a ring costs frames, and nothing else.
func TestBrokenFrames(t *testing.T) {
	good := frame(5)
	for name, pieces := range map[string][][]byte{
		"nothing at all":                  {{}},
		"shorter than a header":           {make([]byte, 11)},
		"runt":                            {withHeader(1, make([]byte, 13), virtionet.Header{})},
		"of no buffer":                    {withHeader(0, good, virtionet.Header{})},
		"of more buffers than there are":  {withHeader(1000, good, virtionet.Header{})},
		"longer than a frame":             longFrame(),
		"checksum beyond the end":         {withHeader(1, good, virtionet.Header{Flags: virtionet.FlagNeedsCsum, CsumStart: 60000, CsumOffset: 16})},
		"checksum that overflows":         {withHeader(1, good, virtionet.Header{Flags: virtionet.FlagNeedsCsum, CsumStart: 0xffff, CsumOffset: 0xffff})},
		"segments of a frame that is not": {withHeader(1, good, virtionet.Header{Flags: virtionet.FlagNeedsCsum, GSOType: virtionet.GSOTCPv4, GSOSize: 1, HdrLen: 0xffff, CsumStart: 34, CsumOffset: 16})},
		"segments without a checksum":     {withHeader(1, good, virtionet.Header{GSOType: virtionet.GSOTCPv4, GSOSize: 1400})},
		"segments of an unknown kind":     {withHeader(1, good, virtionet.Header{Flags: virtionet.FlagNeedsCsum, GSOType: 77, GSOSize: 1400})},
	} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/packed %v", name, packed), func(t *testing.T) {
				r := newEvilRig(t, packed)
				e := r.connect(1)
				r.passes(e)
				e.arrive(pieces...)
				// One that asks for more buffers than it has takes those of what comes right after it.
				eventually(t, "a drop", func() bool { return len(r.b.Collect().Ports[1].Drops) > 0 })
				r.passes(e)
				if n := r.logs.FilterMessage("ended the session with the driver VM").Len(); n != 0 {
					t.Errorf("%d sessions have ended", n)
				}
			})
		}
	}
}

// longFrame is a frame of more bytes than any may have, in many buffers.
func longFrame() (pieces [][]byte) {
	const buffers = 34
	rest := withHeader(buffers, make([]byte, buffers*2048-virtionet.HeaderLen), virtionet.Header{})
	for ; len(rest) > 0; rest = rest[2048:] {
		pieces = append(pieces, rest[:2048])
	}
	return pieces
}

// What the driver VM writes to where it should only read, it does to itself: frames go where they
// should, and come from where they were written.
func TestDescriptorsAreNeverReadBack(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) {
			r := newEvilRig(t, packed)
			e := r.connect(1)
			want := frame(5)
			for k := range 3 {
				q := e.ring(0)
				q.Available()
				var c vring.Chain
				if !q.Pop(&c) {
					t.Fatal(q.Err())
				}
				n := copy(c.Write[0], withHeader(1, want, virtionet.Header{}))
				if !packed { // the places of all buffers; a device that uses them harms itself
					for i := range 4096 + 2*256 {
						if i < 4096 || i >= 4096+4 {
							e.part(e.backend.Ring(0).Desc)[i] = 0xa5
						}
					}
				} else {
					for i := range 256 {
						for b := range 8 {
							e.part(e.backend.Ring(0).Desc)[16*i+b] = 0xa5
						}
					}
				}
				q.ResetViews()
				q.Push(c.Head, uint32(n))
				q.Publish()
				e.call(0)
				got, err := r.wire.Pop()
				must(t, err)
				if !bytes.Equal(got, want) {
					t.Fatalf("round %d: the frame differs", k)
				}
				if k == 0 && packed {
					break // the other descriptors are void for an honest device
				}
				if !packed {
					break
				}
			}
			if n := r.logs.FilterMessage("ended the session with the driver VM").Len(); n != 0 {
				t.Errorf("%d sessions have ended", n)
			}
		})
	}
}

// Someone scribbles over all of the region as fast as he can, while frames come and go. Sessions may
// end, one after the other; nothing else happens, and when it is over frames pass.
func TestScribbler(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) {
			r := newEvilRig(t, packed)
			r.shadow.SetFrontend(shadow.Frontend{Session: 1})
			var scribbling sync.WaitGroup
			stop := make(chan struct{})
			rounds := 0
			scribbling.Go(func() {
				seed, e := uint64(1), r.session()
				for ; ; rounds++ {
					select {
					case <-stop:
						return
					case e = <-r.sessions:
					default:
					}
					for range 500 {
						seed = seed*6364136223846793005 + 1442695040888963407
						at := seed >> 16 % uint64(len(e.bytes))
						if seed>>63 == 0 {
							at %= 2 * 4096 // a ring, more often
						}
						e.bytes[at] = byte(seed >> 8)
					}
					e.call(0)
					r.wire.Push(frame(int(seed % 1000)))
				}
			})
			eventually(t, "the end of some sessions", func() bool {
				r.wire.Discard()
				return r.logs.FilterMessage("ended the session with the driver VM").Len() >= 3
			})
			close(stop)
			scribbling.Wait()
			r.shadow.SetFrontend(shadow.Frontend{})
			r.wire.Discard()
			for len(r.sessions) > 0 {
				<-r.sessions
			}
			e := r.connect(2)
			eventually(t, "calm", func() bool { r.wire.Discard(); return r.wire.Waiting() == 0 })
			r.passes(e)
		})
	}
}

// Some devices say how much they have read, where only what was written counts: that is nothing to fail for, whatever the number.
func TestLengthOfWhatWasRead(t *testing.T) {
	for _, packed := range []bool{false, true} {
		r := newEvilRig(t, packed)
		e := r.connect(1)
		for _, length := range []uint32{1, 2048, 0xffffffff} {
			r.wire.Push(frame(3))
			q := e.ring(1)
			var c vring.Chain
			eventually(t, "a frame for the driver VM", func() bool {
				q.Available()
				return q.Pop(&c)
			})
			q.ResetViews()
			q.Push(c.Head, length)
			q.Publish()
			e.call(1)
		}
		r.passes(e)
		if n := r.logs.FilterMessage("ended the session with the driver VM").Len(); n != 0 {
			t.Errorf("packed %v: %d sessions have ended", packed, n)
		}
	}
}

// Doorbells without end cost no more than looks at the rings.
func TestBellStorm(t *testing.T) {
	r := newEvilRig(t, false)
	e := r.connect(1)
	var ringing sync.WaitGroup
	stop := make(chan struct{})
	ringing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				e.call(0)
				e.call(1)
			}
		}
	})
	for range 20 {
		r.passes(e)
	}
	close(stop)
	ringing.Wait()
}

// No one can make the region smaller, or larger.
func TestRegionKeepsItsSize(t *testing.T) {
	m, err := shadow.NewMemory(8 << 20)
	must(t, err)
	defer m.Close()
	f, err := m.Dup()
	must(t, err)
	defer f.Close()
	for _, size := range []int64{0, 4096, 16 << 20} {
		if err := f.Truncate(size); err == nil {
			t.Errorf("it has %d bytes now", size)
		}
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err == nil {
		t.Error("it cannot be written to any more")
	}
}
