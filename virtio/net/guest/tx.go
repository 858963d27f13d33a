package guest

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// txFrames copies frames into the guest's receive buffers and returns how many it
// is done with, sent or dropped. Fewer than len(frames) means that the guest
// offers no room for the next one now, or that its ring is away for a moment.
func (g *Port) txFrames(frames []virtionet.Frame) int {
	if g.bare {
		g.lookForRoom()
	}
	if g.closed {
		return g.holdOrDrop(frames)
	}
	enough := bound{g.counters.Pieces + maxRoom, g.work + maxSteps}
	if f := g.cur.Filter; f != nil {
		return g.txFiltered(f, frames, enough)
	}
	return g.txWanted(frames, enough)
}

// bound is what Pieces and Work say when no other frame is begun in a call, however many of the burst are left:
// pieces for which there is no buffer take none, and where some frames are filtered the buffers are popped anew
// after each.
type bound struct{ pieces, steps uint64 }

// maxSteps is about what vring.Device.Work can be at most.
const maxSteps = 8 * vring.MaxChain

func (g *Port) hadEnough(b bound) bool {
	return g.counters.Pieces >= b.pieces || g.work >= b.steps
}

// txFiltered is txFrames for a guest that does not want all frames.
func (g *Port) txFiltered(f *Filter, frames []virtionet.Frame, enough bound) int {
	for done := 0; ; {
		run := done
		for run < len(frames) && f.wants(&frames[run]) {
			run++
		}
		if run > done {
			if done += g.txWanted(frames[done:run], enough); done < run {
				return done
			}
		}
		if done == len(frames) {
			return done
		}
		g.counters.Drops[virtionet.DropFiltered]++
		done++
	}
}

// txWanted is txFrames for frames that the guest wants.
func (g *Port) txWanted(frames []virtionet.Frame, enough bound) int {
	if g.hadEnough(enough) {
		return 0
	}
	q := g.cur.ToGuest
	if q.Err() != nil {
		g.checkFaults() // the look for plain buffers may have found it broken
		g.counters.Drops[virtionet.DropNoPeer] += uint64(len(frames))
		return len(frames)
	}
	if len(frames) > q.Pending() {
		q.Available() // else what an earlier look has seen is enough
	}
	q.ResetViews()
	r := txBurst{q: q, popped: q.PopBurst(g.room[:min(len(frames), virtionet.MaxBurst)])}
	q.PrefetchWrite()
	done := 0
	for done < len(frames) && !g.hadEnough(enough) && g.put(&r, &frames[done]) {
		done++
	}
	g.work += uint64(2*r.popped + q.Work())
	g.early = done < len(frames) && g.hadEnough(enough)
	if left := r.popped - r.filled; left > 0 {
		q.Unpop(left)
	}
	if q.Logged() {
		q.LogWritten(g.room[:r.filled])
	}
	if !g.later {
		g.complete(q)
	}
	if q.Err() != nil {
		g.checkFaults()
		g.counters.Drops[virtionet.DropFault] += uint64(len(frames) - done)
		return len(frames)
	}
	return done
}

// txBurst is the state of a burst to the guest: buffers g.room[filled:popped] are
// popped and empty.
type txBurst struct {
	q      *vring.Device
	popped int
	filled int

	// If not 0: those from filled on, which was this then, are all that can be had, and hold so many bytes.
	all, first int
}

// maxRoom is the largest number of buffers popped for a burst. The largest frame takes
// fewer, unless they are of less than 65 bytes.
const maxRoom = 1024

// exhausted reports whether no more buffers can be had in this burst, even if the
// guest offers some.
func (r *txBurst) exhausted() bool { return r.popped == maxRoom || r.q.Exhausted() }

// put copies one frame into as many buffers as it needs, or drops it if it can
// never fit. It returns false, with nothing sent, when there is no room now, or the ring
// is broken.
func (g *Port) put(r *txBurst, f *virtionet.Frame) bool {
	if f.Header.Special() {
		return g.finish(r, f)
	}
	return g.putWhole(r, f) || g.gather(r, f)
}

// finish is put for a frame with something left to be done, which the guest is given as
// it is or not, as it negotiated. What is put of it before there is no room stays put.
func (g *Port) finish(r *txBurst, f *virtionet.Frame) bool {
	if !g.gso.Begin(f, g.cur.Takes, g.cur.maxFrame()) {
		g.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	for out := g.gso.Next(&g.counters); out != nil; out = g.gso.Next(&g.counters) {
		if !g.putWhole(r, out) && !g.gather(r, out) {
			return false
		}
		g.gso.Sent(&g.counters)
	}
	return true
}

// putWhole is put for a frame that the next buffer holds in one piece, which is
// what nearly all frames are. It returns false, with nothing changed, if things are
// otherwise.
func (g *Port) putWhole(r *txBurst, f *virtionet.Frame) bool {
	if r.filled == r.popped {
		return false
	}
	c := &g.room[r.filled]
	if len(c.Write) != 1 || len(c.Read) != 0 || f.Len > g.cur.maxFrame() {
		return false
	}
	v, head := c.Write[0], g.cur.HeaderLen
	if len(v) < max(head+f.Len, virtionet.HeaderLen) {
		return false
	}
	f.Header.NumBuffers = 1
	f.Header.Put((*[virtionet.HeaderLen]byte)(v)) // the frame overwrites what a legacy header has not
	to := v[head:]
	if len(f.Data) == 2 && len(f.Data[0]) == virtionet.AddressBytes { // a switch's frames begin with a copy of their own
		*(*[virtionet.AddressBytes]byte)(to) = *(*[virtionet.AddressBytes]byte)(f.Data[0])
		copy(to[virtionet.AddressBytes:], f.Data[1])
	} else if len(f.Data) == 1 {
		copy(to, f.Data[0])
	} else {
		virtionet.CopyViews(to, f.Data, 0, 0)
	}
	r.q.Push(c.Head, uint32(head+f.Len))
	r.filled++
	g.counters.TxPackets++
	g.counters.TxBytes += uint64(f.Len)
	return true
}

// gather is put for every other frame.
func (g *Port) gather(r *txBurst, f *virtionet.Frame) bool {
	if f.Len > g.cur.maxFrame() && !f.Header.IsGSO() { // else its pieces are what counts, see virtionet.SoftwareGSO
		g.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	need, have := g.cur.HeaderLen+f.Len, 0
	if need > r.all && r.all > 0 && r.first == r.filled { // else a thousand tiny ones would be added up for each piece
		g.counters.Drops[virtionet.DropNoBuffer]++
		return true
	}
	end := r.filled
	for have < need {
		if end == r.popped && !g.more(r) {
			if end-r.filled == r.q.Size() || r.filled == 0 && r.exhausted() {
				r.all, r.first = have, r.filled
				break // every buffer the ring can hold, or anybody can be asked to look at, is too little
			}
			return false
		}
		c := &g.room[end]
		if len(c.Read) != 0 || c.WriteLen == 0 {
			end++
			g.refuse(r, end)
			have = 0
			continue
		}
		have += int(c.WriteLen)
		end++
		if !g.cur.Mergeable {
			break // one buffer has to do; if it does not, it stays for a shorter frame
		}
	}
	if have < need {
		g.counters.Drops[virtionet.DropNoBuffer]++
		return true
	}
	g.scatter(r.q, g.room[r.filled:end], f)
	r.filled = end
	g.counters.TxPackets++
	g.counters.TxBytes += uint64(f.Len)
	return true
}

// refuse gives the buffers before the one with index end back empty. The last of them no
// driver may offer: it has a part to be read, or none to be written to. See accept for why
// the ring goes on; those before it go back because the order of the ring must be kept.
func (g *Port) refuse(r *txBurst, end int) {
	for i := range g.room[r.filled:end] {
		r.q.Push(g.room[r.filled+i].Head, 0)
	}
	r.filled = end
	g.counters.Drops[virtionet.DropBadBuffer]++
}

// more pops one buffer beyond those popped so far, or returns false if there is
// none.
func (g *Port) more(r *txBurst) bool {
	if r.popped == maxRoom {
		return false
	}
	if r.popped == len(g.room) {
		g.room = append(g.room, vring.Chain{}) // grows to what the largest frames take, once
	}
	if r.q.Pending() == 0 && r.q.Available() == 0 || !r.q.Pop(&g.room[r.popped]) {
		return false
	}
	r.popped++
	return true
}

// scatter writes header and frame into the buffers, each filled completely before
// the next (5.1.6.4), and completes them when all is written: if guest memory
// vanishes on the way, none of them is.
func (g *Port) scatter(q *vring.Device, chains []vring.Chain, f *virtionet.Frame) {
	var raw [virtionet.HeaderLen]byte
	f.Header.NumBuffers = uint16(len(chains))
	f.Header.Put(&raw)
	head := raw[:g.cur.HeaderLen]
	at, off := 0, 0
	for i := range chains {
		c := &chains[i]
		written := 0
		for _, v := range c.Write {
			if len(head) > 0 {
				k := copy(v, head)
				head, v, written = head[k:], v[k:], written+k
			}
			var k int
			k, at, off = virtionet.CopyViews(v, f.Data, at, off)
			written += k
		}
		c.WriteLen = uint32(written)
	}
	for i := range chains {
		q.Push(chains[i].Head, chains[i].WriteLen)
	}
}
