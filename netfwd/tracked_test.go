package netfwd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// trackedRing is a ring with the memory in which its front-end has it tracked. Both outlive
// the process that serves it.
type trackedRing struct {
	*vringtest.Pair
	memory []byte
	at     uint16 // where a back-end that comes next begins
}

func newTrackedRing(t *testing.T, packed bool) *trackedRing {
	cfg := vringtest.Config{Size: 64, Packed: packed}
	p := vringtest.NewPair(t, cfg)
	r := &trackedRing{Pair: p, at: p.DeviceConfig.NextAvail}
	r.memory, _ = vanishing(t, vring.TrackBytes(cfg.Size, packed))
	return r
}

// device is the device side of a back-end that has just started.
func (r *trackedRing) device(t *testing.T, token uint64) *vring.Device {
	t.Helper()
	cfg := r.DeviceConfig
	cfg.NextAvail = r.at
	cfg.Track, cfg.Resumed = vring.NewTracker(r.memory, cfg.Size, cfg.Packed, token)
	if at, ok := cfg.Track.PackedBase(r.Raw.Table); cfg.Packed && cfg.Resumed {
		if ok { // as session.packedPosition does it
			r.at = at
		}
		cfg.NextAvail, _ = vring.PackedPosition(r.Raw.Table, cfg.Size, r.at, false)
	} else if !cfg.Packed {
		cfg.NextAvail = r.Raw.UsedIdx()
	}
	q, err := vring.NewDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// image is what is in a ring's memory, tracking included.
type image struct{ table, used, memory []byte }

func (r *trackedRing) image() image {
	return image{bytes.Clone(r.Raw.Table), bytes.Clone(r.Raw.Used), bytes.Clone(r.memory)}
}

// restore puts the ring's own parts back.
func (r *trackedRing) restore(i image) {
	copy(r.Raw.Table, i.table)
	copy(r.Raw.Used, i.used)
}

// prepare lets the ring's tracking say what it says before a ring's own parts are stored.
func (r *trackedRing) prepare(later []byte) {
	fields := []int{12, 13} // last_batch_head; of packed rings free_head
	if r.DeviceConfig.Packed {
		fields = append(fields, 16, 17, 20) // used_idx, used_wrap_counter
	}
	for _, at := range fields {
		r.memory[at] = later[at]
	}
}

// crashRig is two guests between which one back-end after the other forwards, from the
// first to the second.
type crashRig struct {
	t       *testing.T
	from    *trackedRing // transmit ring of the first
	to      *trackedRing // receive ring of the second
	lane    *lane
	ports   [2]*guest.Port
	frames  int
	buffers map[uint16][]byte
	got     []uint32
}

func newCrashRig(t *testing.T, packed bool) *crashRig {
	r := &crashRig{t: t, from: newTrackedRing(t, packed), to: newTrackedRing(t, packed), buffers: map[uint16][]byte{}}
	for range 40 {
		r.offer()
	}
	r.to.Driver.Publish()
	return r
}

// boot starts a back-end. Its guests are back at once, or the second not yet.
func (r *crashRig) boot(second bool) {
	for i := range r.ports {
		r.ports[i] = guest.New(fmt.Sprint("guest ", i), func(ring string, err error) { r.t.Errorf("%s ring: %v", ring, err) })
	}
	r.lane = newPair(r.ports[0], r.ports[1])
	r.startFrom()
	if second {
		r.back()
	}
}

// startFrom starts the ring of the first guest.
func (r *crashRig) startFrom() {
	r.install(0, &guest.Queues{FromGuest: r.from.device(r.t, 11), FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen})
}

// back brings the second guest back.
func (r *crashRig) back() {
	r.install(1, &guest.Queues{ToGuest: r.to.device(r.t, 22), ToGuestEnabled: true, HeaderLen: virtionet.HeaderLen})
}

func (r *crashRig) install(port int, q *guest.Queues) {
	done := make(chan struct{})
	go func() { r.ports[port].Install(q); close(done) }()
	for !r.ports[port].Changed() {
	}
	r.lane.sync(memberOf(r.lane, r.ports[port]))
	<-done
}

func (r *crashRig) offer() {
	addr, b := r.to.Alloc(256)
	head, err := r.to.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 256)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.buffers[head] = b
}

func (r *crashRig) send(n int) {
	for range n {
		addr, b := r.from.Alloc(virtionet.HeaderLen + 60)
		binary.LittleEndian.PutUint32(b[virtionet.HeaderLen+20:], uint32(r.frames))
		r.frames++
		if _, err := r.from.Driver.Add([]vring.Part{vringtest.Part(addr, len(b))}, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	r.from.Driver.Publish()
}

// receive takes what has come.
func (r *crashRig) receive() {
	r.to.Driver.Completed()
	for u := (vring.Used{}); r.to.Driver.Take(&u); {
		r.got = append(r.got, binary.LittleEndian.Uint32(r.buffers[u.Head][virtionet.HeaderLen+20:]))
		r.offer()
	}
	r.to.Driver.Publish()
	r.from.Driver.Completed()
	for u := (vring.Used{}); r.from.Driver.Take(&u); {
	}
}

func (r *crashRig) step() {
	for range 4 {
		r.lane.step()
	}
}

// check compares what has come with what was sent.
func (r *crashRig) check() {
	r.t.Helper()
	r.receive()
	for i, n := range r.got {
		if n != uint32(i) {
			r.t.Fatalf("frame %d came in place of %d: %v", n, i, r.got)
		}
	}
	if len(r.got) != r.frames {
		r.t.Fatalf("%d of %d frames came", len(r.got), r.frames)
	}
}

// A back-end is killed between any two of its stores to the rings: the next one neither
// loses a frame nor sends one twice, whichever guest comes back first.
func TestKilledBetweenTwoRings(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, second := range []bool{true, false} {
			for _, where := range []string{"before anything", "before it is published", "while it is published", "before it is completed", "while it is completed", "after all"} {
				t.Run(fmt.Sprintf("packed %v, both at once %v, %s", packed, second, where), func(t *testing.T) {
					r := newCrashRig(t, packed)
					r.boot(true)
					r.send(7)
					r.step()
					r.check()
					for range 20 { // round the rings
						r.send(5)
						from, to := r.from.image(), r.to.image()
						r.step()
						// What a process that was killed has not stored is taken back. The first
						// it stores is its intent, in the journal, and before each ring's own parts
						// what it is about to do with that ring.
						const journal = 64
						switch where {
						case "before anything":
							r.from.restore(from)
							r.to.restore(to)
							copy(r.from.memory, from.memory)
							copy(r.to.memory, to.memory)
						case "before it is published", "while it is published":
							r.from.restore(from)
							r.to.restore(to)
							copy(r.from.memory[:len(r.from.memory)-journal], from.memory)
							prepared := bytes.Clone(r.to.memory)
							copy(r.to.memory, to.memory)
							if where == "while it is published" {
								r.to.prepare(prepared)
							}
						case "before it is completed", "while it is completed":
							r.from.restore(from)
							prepared := bytes.Clone(r.from.memory)
							copy(r.from.memory[:len(r.from.memory)-journal], from.memory)
							if where == "while it is completed" {
								r.from.prepare(prepared)
							}
						}
						r.boot(second)
						if !second {
							r.step() // nothing may get lost meanwhile
							r.back()
						}
						r.step()
						r.check()
					}
				})
			}
		}
	}
}

// Another guest than the one that was there is sent what waits, and one that does not come
// back is not waited for.
func TestKilledAndOtherGuestsComeBack(t *testing.T) {
	r := newCrashRig(t, false)
	r.boot(true)
	r.send(3)
	from := r.from.image()
	r.step()
	r.from.restore(from)
	r.receive()
	r.got = nil
	other := newTrackedRing(t, false)
	r.to, r.buffers = other, map[uint16][]byte{}
	for range 40 {
		r.offer()
	}
	r.to.Driver.Publish()
	r.boot(true)
	r.step()
	r.check()

	r.send(3)
	r.boot(false)
	d := r.lane.dirs[0]
	r.step()
	if d.record.deadline.IsZero() || r.from.Driver.Completed() != 0 {
		t.Fatal("no one waits for the guest")
	}
	if r.lane.enableKicks() || !r.lane.waits() {
		t.Error("a loop does not sleep while frames wait for a guest")
	}
	r.lane.disableKicks()
	d.record.deadline = time.Now()
	r.step()
	if n := r.from.Driver.Completed(); n != 3 {
		t.Errorf("%d of 3 frames for no one were dropped", n)
	}
}

// The ring of a guest that waits for the other one starts again, in the same back-end or in
// one more: what was intended is still known.
func TestRingStartsAgainBeforeItIsSettled(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("packed %v, killed again %v", packed, killed), func(t *testing.T) {
				r := newCrashRig(t, packed)
				r.boot(true)
				r.send(5)
				from := r.from.image()
				r.step()
				r.from.restore(from) // killed before it is completed
				const journal = 64
				copy(r.from.memory[:len(r.from.memory)-journal], from.memory)
				r.boot(false)
				r.step()
				if killed {
					r.boot(false)
				} else {
					r.install(0, &guest.Queues{HeaderLen: virtionet.HeaderLen})
					r.startFrom()
				}
				r.step()
				r.back()
				r.send(3)
				r.step()
				r.check()
			})
		}
	}
}

// An intent that was carried out is over, also when the ring stands at the same place
// again, laps later.
func TestIntentIsOverWhenItIsCarriedOut(t *testing.T) {
	r := newCrashRig(t, true)
	r.boot(true)
	r.send(7)
	r.step()
	r.check()
	r.install(1, nil)
	const lap = 2 * 64 // slots until a packed ring stands where it stood
	for left := lap - 7; left > 0; left -= 11 {
		for range min(left, 11) {
			r.send(1)
			r.frames-- // for no one: dropped, without an intent
		}
		r.step()
		r.receive()
	}
	r.send(7)
	r.install(0, &guest.Queues{HeaderLen: virtionet.HeaderLen})
	r.back()
	r.startFrom()
	r.step()
	r.check()
}

// How long the frames of a guest wait is counted from when it is back, not from when the
// one before it was that went away meanwhile.
func TestEachGuestWaitsForTheOther(t *testing.T) {
	r := newCrashRig(t, false)
	r.boot(true)
	r.send(3)
	r.boot(false)
	d := r.lane.dirs[0]
	r.step()
	d.record.deadline = time.Now() // the time has passed
	r.install(0, nil)
	r.startFrom()
	r.step()
	if n := r.from.Driver.Completed(); n != 0 {
		t.Fatalf("%d frames did not wait for the other guest", n)
	}
	r.back()
	r.step()
	r.check()
}

// What is in tracking memory is anybody's: it can misplace its own ring and nothing else.
func TestTrackingMemoryIsHostile(t *testing.T) {
	for seed := range 200 {
		packed := seed%2 == 0
		r := newCrashRig(t, packed)
		r.boot(true)
		r.send(5)
		r.step()
		r.check()
		for i := range r.from.memory {
			if (i*7+seed)%5 == 0 || seed%3 == 0 {
				r.from.memory[i] = byte(i*31 + seed*17)
				r.to.memory[len(r.to.memory)-1-i] = byte(i*13 + seed)
			}
		}
		binary.LittleEndian.PutUint16(r.from.memory[8:], 1)
		binary.LittleEndian.PutUint16(r.from.memory[10:], 64)
		r.send(5)
		r.boot(true)
		r.step()
		r.receive()
	}
}
