package vring_test

import (
	"errors"
	"slices"
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
				if program[0]>>3%4 == 3 {
					d.addReads(place % 8)
				} else {
					d.add(place%4, int(v%4))
				}
				p.Driver.Publish()
			case 1: // a plausible answer
				r.Complete(uint32(place%(p.Driver.Size()+1)), uint32(v%64))
				d.take(program[0] >> 3)
			case 2:
				r.SetUsedIdx(v)
				d.take(program[0] >> 3)
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
				d.answer(program[0] >> 3)
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
func (d *keeper) answer(how byte) {
	if head, k, ok := d.oldest(); ok {
		d.p.Raw.Complete(uint32(head), k.writable)
		d.take(how)
	}
}

// addReads adds n buffers of one part at a time.
func (d *keeper) addReads(n int) {
	q := d.p.Driver
	want := min(n, q.Free())
	heads := make([]uint16, want)
	q.NextHeads(heads)
	if q.Err() != nil {
		want = 0
	}
	if got := q.AddReads(parts(n)); got != want {
		d.t.Fatalf("%d of %d buffers were added, want %d", got, n, want)
	}
	for _, head := range heads[:want] {
		if _, ok := d.chains[head]; ok {
			d.t.Fatalf("head %d is in use", head)
		}
		d.order++
		d.chains[head] = kept{1, 0, d.order}
	}
}

// take takes what is there: one by one, offering some again, or all at once.
func (d *keeper) take(how byte) {
	q := d.p.Driver
	n := q.Completed()
	most := len(d.chains)
	if d.p.DeviceConfig.Packed {
		most++ // one that is at fault is counted, and not handed out
	}
	if n > most {
		d.t.Fatalf("%d done of %d outstanding", n, len(d.chains))
	}
	finished := slices.Clone(q.Finished())
	if len(finished) > n {
		d.t.Fatalf("%d finished of %d", len(finished), n)
	}
	switch how % 3 {
	case 1:
		k := q.Renew(int(how))
		q.Publish()
		for _, u := range finished[:k] {
			c, ok := d.chains[u.Head]
			if !ok || u.Len > c.writable || c.descriptors != 1 || c.writable == 0 {
				d.t.Fatalf("renewed %+v, which is %+v", u, c)
			}
			d.order++
			c.order = d.order
			d.chains[u.Head] = c
		}
		n, finished = n-k, finished[k:]
	case 2:
		k := q.TakeAll()
		if k != len(finished) {
			d.t.Fatalf("%d taken of %d finished", k, len(finished))
		}
		for _, u := range finished {
			if c, ok := d.chains[u.Head]; !ok || u.Len > c.writable {
				d.t.Fatalf("finished %+v, which is not outstanding or too long (%+v)", u, c)
			}
			delete(d.chains, u.Head)
		}
		n, finished = n-k, nil
	}
	var u vring.Used
	for ; q.Take(&u); n-- {
		if len(finished) == 0 || finished[0].Head != u.Head || finished[0].Len != u.Len {
			d.t.Fatalf("took %+v, not the first of %+v", u, finished)
		}
		finished = finished[1:]
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
