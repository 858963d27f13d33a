package virtionet

import "vvufwd/virtio/vring"

// TxBurst copies frames into the guest's receive buffers and returns how many it
// is done with, sent or dropped. Fewer than len(frames) means that the guest
// offers no room for the next one now.
func (g *Guest) TxBurst(frames []Frame) int {
	q := g.cur.ToGuest
	if q == nil || !g.cur.ToGuestEnabled || q.Err() != nil {
		g.counters.Drops[DropNoPeer] += uint64(len(frames))
		return len(frames)
	}
	q.ResetViews()
	q.Available()
	n := 0
	for n < len(frames) {
		f := &frames[n]
		chains, verdict := g.room(q, g.cur.HeaderLen+f.Len)
		if verdict == full {
			break
		}
		n++
		if verdict == impossible {
			g.counters.Drops[DropNoBuffer]++
			continue
		}
		g.fill(q, chains, f)
		g.counters.TxPackets++
		g.counters.TxBytes += uint64(f.Len)
	}
	g.finish(q, g.cur.ToGuestCall)
	if q.Err() != nil {
		g.checkFaults()
		g.counters.Drops[DropFault] += uint64(len(frames) - n)
		return len(frames)
	}
	return n
}

// verdict is the answer to "where does this frame go?".
type verdict uint8

const (
	fits       verdict = iota
	full               // not now: the guest has to offer buffers
	impossible         // never: its buffers are too small
)

// room pops the buffers that need bytes fill. Unless they fit, none is consumed,
// but for a buffer too small without MRG_RXBUF: it stays for a shorter frame.
func (g *Guest) room(q *vring.Device, need int) ([]vring.Chain, verdict) {
	chains := g.chains[:0]
	have := 0
	for have < need {
		if len(chains) == cap(chains) {
			chains = append(chains, vring.Chain{})[:len(chains)] // grows to the largest frame, once
			g.chains = chains
		}
		chains = chains[:len(chains)+1]
		c := &chains[len(chains)-1]
		if !q.Pop(c) {
			q.Unpop(len(chains) - 1)
			if len(chains)-1 == q.Size() {
				return nil, impossible // every buffer the ring can hold is too little
			}
			return nil, full
		}
		if c.ReadLen != 0 {
			q.Fail(vring.FaultDirection)
			return nil, full
		}
		if c.WriteLen == 0 {
			q.Fail(vring.FaultEmpty)
			return nil, full
		}
		have += int(c.WriteLen)
		if !g.cur.Mergeable && have < need {
			q.Unpop(1)
			return nil, impossible
		}
	}
	return chains, fits
}

// fill writes header and frame into the buffers, each filled completely before
// the next (5.1.6.4), and completes them.
func (g *Guest) fill(q *vring.Device, chains []vring.Chain, f *Frame) {
	var raw [HeaderLen]byte
	hdr := f.Header
	hdr.NumBuffers = uint16(len(chains))
	hdr.encode(&raw)
	head := raw[:g.cur.HeaderLen]

	if v := chains[0].Write[0]; len(chains) == 1 && len(f.Data) == 1 && len(v) >= len(head)+f.Len {
		copy(v, head)
		copy(v[len(head):], f.Data[0])
		q.Push(chains[0].Head, uint32(len(head)+f.Len))
		return
	}
	at, off := 0, 0
	for i := range chains {
		written := 0
		for _, v := range chains[i].Write {
			if len(head) > 0 {
				k := copy(v, head)
				head, v, written = head[k:], v[k:], written+k
			}
			var k int
			k, at, off = copyParts(v, f.Data, at, off)
			written += k
		}
		q.Push(chains[i].Head, uint32(written))
	}
}
