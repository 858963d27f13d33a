package vring_test

import (
	"errors"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A device answers anything at any time. program is read four bytes a step:
// what to do, a place, a value.
func FuzzDriverRing(f *testing.F) {
	f.Fuzz(func(t *testing.T, cfg byte, program []byte) {
		p := vringtest.NewPair(t, fuzzConfig(cfg))
		d := keeper{t: t, p: p, chains: map[uint16]kept{}}
		r := p.Raw
		for ; len(program) >= 4; program = program[4:] {
			place, v := int(program[1]), uint16(program[2])|uint16(program[3])<<8
			switch program[0] % 8 {
			case 0:
				d.add(place%4, int(v%4))
				p.Driver.Publish()
			case 1: // a plausible answer
				r.Complete(uint32(place%(p.Driver.Size()+1)), uint32(v%64))
				d.take()
			case 2:
				r.SetUsedIdx(v)
				d.take()
			case 3:
				r.SetUsed(uint16(place), uint32(v)<<(program[0]>>3%17), uint32(v))
			case 4:
				r.SetUsedFlags(v)
				r.SetAvailEvent(v)
			case 5:
				p.Driver.NeedKick()
				p.Driver.DisableInterrupts()
				p.Driver.EnableInterrupts()
				d.fault(p.Driver.Err())
			case 6: // the device scribbles over what it must only read
				smear(r.Table[place*4%len(r.Table):], program[2:4])
				smear(r.Avail[place*2%len(r.Avail):], program[2:4])
			case 7: // an honest answer to the oldest buffer
				d.answer()
			}
			d.check()
		}
	})
}

// kept is what the test knows of an outstanding buffer.
type kept struct {
	descriptors int
	writable    uint32
	order       int
}

// keeper keeps the driver side's books a second time.
type keeper struct {
	t      *testing.T
	p      *vringtest.Pair
	chains map[uint16]kept // outstanding buffers by head
	order  int
	was    error
}

func (d *keeper) add(nr, nw int) {
	q := d.p.Driver
	read, write := parts(nr), parts(nw)
	var writable uint32
	for _, part := range write {
		writable += part.Len
	}
	free := q.Free()
	need := nr + nw
	if d.p.DeviceConfig.Indirect && q.Size() > 1 && need > 1 && need <= min(8, q.Size()) {
		need = 1
	}
	head, err := q.Add(read, write)
	switch {
	case nr+nw == 0 || nr+nw > q.Size():
		if err == nil {
			d.t.Fatalf("took a buffer of %d parts", nr+nw)
		}
		return
	case q.Err() != nil:
		if !errors.Is(err, q.Err()) {
			d.t.Fatalf("Add after %v: %v", q.Err(), err)
		}
		return
	case need > free:
		if !errors.Is(err, vring.ErrFull) {
			d.t.Fatalf("%d descriptors with %d free: %v", need, free, err)
		}
		return
	case err != nil:
		d.t.Fatalf("%d descriptors with %d free: %v", need, free, err)
	}
	if _, ok := d.chains[head]; ok || int(head) >= q.Size() {
		d.t.Fatalf("head %d is in use or outside the ring", head)
	}
	d.order++
	d.chains[head] = kept{need, writable, d.order}
}

// oldest is the buffer that is outstanding for the longest time.
func (d *keeper) oldest() (head uint16, k kept, ok bool) {
	for h, c := range d.chains {
		if !ok || c.order < k.order {
			head, k, ok = h, c, true
		}
	}
	return head, k, ok
}

// answer completes the oldest outstanding buffer as a good device does.
func (d *keeper) answer() {
	if head, k, ok := d.oldest(); ok {
		d.p.Raw.Complete(uint32(head), k.writable)
		d.take()
	}
}

func (d *keeper) take() {
	q := d.p.Driver
	n := q.Completed()
	most := len(d.chains)
	if d.p.DeviceConfig.Packed {
		most++ // one that is at fault is counted, and not handed out
	}
	if n > most {
		d.t.Fatalf("%d done of %d outstanding", n, len(d.chains))
	}
	var u vring.Used
	for ; q.Take(&u); n-- {
		k, ok := d.chains[u.Head]
		if !ok || u.Len > k.writable {
			d.t.Fatalf("took %+v, which is not outstanding or too long (%+v)", u, k)
		}
		delete(d.chains, u.Head)
	}
	if q.Err() == nil && n != 0 {
		d.t.Fatalf("%d buffers are not handed out", n)
	}
	d.fault(q.Err())
}

// fault notes the ring's fault, which must not change.
func (d *keeper) fault(err error) {
	if d.was != nil && err != d.was {
		d.t.Fatalf("fault %v became %v", d.was, err)
	}
	d.was = err
}

// check balances the books.
func (d *keeper) check() {
	used := 0
	for _, k := range d.chains {
		used += k.descriptors
	}
	q := d.p.Driver
	if q.Outstanding() != len(d.chains) || q.Free() != q.Size()-used {
		d.t.Fatalf("%d outstanding, %d free, want %d, %d", q.Outstanding(), q.Free(), len(d.chains), q.Size()-used)
	}
}
