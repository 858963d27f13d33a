package vring_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Random operations on both sides of a ring, in any order, against queues of
// buffers: what was offered comes out, once, in order, with its content and
// lengths; descriptors are accounted for; notifications follow 2.7.7.2 and 2.8.10.
func TestRingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":                  m.check,
			"add":               m.add,
			"add again":         m.add, // else the ring is empty most of the time
			"show":              m.show,
			"needKick":          m.needKick,
			"available":         m.available,
			"pop":               m.pop,
			"pop again":         m.pop,
			"unpop":             m.unpop,
			"push":              m.push,
			"push again":        m.push,
			"publish":           m.publish,
			"readOps":           m.readOps,
			"writeOps":          m.writeOps,
			"needSignal":        m.needSignal,
			"forgetSignals":     m.forgetSignals,
			"enableKicks":       m.enableKicks,
			"disableKicks":      m.disableKicks,
			"completed":         m.completed,
			"take":              m.take,
			"take again":        m.take,
			"enableInterrupts":  m.enableInterrupts,
			"disableInterrupts": m.disableInterrupts,
			"resetViews":        m.resetViews,
		})
	})
}

// Buffers have up to three parts on each side, of up to partBytes.
const (
	sideParts = 3
	partBytes = 40
)

// buffer is one buffer of the model, in whatever queue it is.
type buffer struct {
	head     uint16
	need     int // descriptors
	content  []byte
	read     []vring.Part
	write    []vring.Part
	writeLen int
	chain    vring.Chain // while the device side holds it
	pops     int         // its place in the order of pops
	written  []byte      // what the device side wrote
}

// model is a ring as queues. A buffer goes through them from top to bottom.
type model struct {
	p        *vringtest.Pair
	cfg      vringtest.Config
	added    []*buffer
	visible  []*buffer // to the device side, of which it has seen the first seen
	held     []*buffer // popped, in any order
	pushed   []*buffer
	done     []*buffer // visible to the driver side, of which it has seen the first seenDone
	seen     int
	seenDone int
	free     int
	pops     int // chains popped and not taken back

	// Places are counted on from the first: in buffers, or in slots of a packed ring.
	avail, used          int
	kickedAt, signalled  int
	signalledValid       bool
	availEvent           int
	usedEvent            int
	noKicks, noInterrupt bool
	everyKick            bool // nothing was asked for yet in a packed ring, so everything is
	everyInterrupt       bool
}

func newModel(t *rapid.T) *model {
	starts := []uint16{0, 1, 32760, 65520, 65535}
	if vring.RaceEnabled {
		starts = starts[:2] // the way there is long
	}
	cfg := vringtest.Config{
		Packed:   rapid.Bool().Draw(t, "packed"),
		Size:     rapid.SampledFrom([]int{1, 2, 4, 8, 32}).Draw(t, "size"),
		EventIdx: rapid.Bool().Draw(t, "eventIdx"),
		Indirect: rapid.Bool().Draw(t, "indirect"),
		InOrder:  rapid.Bool().Draw(t, "inOrder"),
		Start:    rapid.SampledFrom(starts).Draw(t, "start"),
		Regions:  rapid.IntRange(1, 5).Draw(t, "regions"), // borders fall anywhere
	}
	cfg.ReadOnly = cfg.InOrder && rapid.Bool().Draw(t, "readOnly")
	if cfg.Packed {
		cfg.Size += rapid.IntRange(0, 3).Draw(t, "more")
	}
	cfg.IndirectParts = min(cfg.Size, rapid.IntRange(2, 4).Draw(t, "indirectParts"))
	cfg.HeapBytes = cfg.Size*2*sideParts*partBytes + 16*cfg.Regions
	m := &model{p: vringtest.NewPair(t, cfg), cfg: cfg, free: cfg.Size}
	start := int(cfg.Start)
	m.avail, m.used, m.kickedAt, m.signalled = start, start, start, start
	m.availEvent, m.usedEvent = start, start
	m.everyKick = cfg.Packed && start == 0
	m.everyInterrupt = m.everyKick
	return m
}

// places is how far buffers move a ring on.
func (m *model) places(buffers ...*buffer) (n int) {
	for _, b := range buffers {
		if m.cfg.Packed {
			n += b.need
		} else {
			n++
		}
	}
	return n
}

// word is a place as DeviceConfig.NextAvail names it.
func (m *model) word(at int) uint16 {
	if m.cfg.Packed {
		return vringtest.SlotAt(at, m.cfg.Size).Word()
	}
	return uint16(at)
}

// holds reports whether the places from old to before new include event. Places have
// the same name again after 65536 buffers, or two laps of a packed ring.
func (m *model) holds(event, old, new int) bool {
	if m.cfg.Packed && new-old > m.cfg.Size {
		return true
	}
	for at := old; at < new; at++ {
		if m.word(at) == m.word(event) {
			return true
		}
	}
	return false
}

// outstanding are all buffers between Add and Take.
func (m *model) outstanding() int {
	return len(m.added) + len(m.visible) + len(m.held) + len(m.pushed) + len(m.done)
}

func (m *model) check(t *rapid.T) {
	d, q, raw := m.p.Driver, m.p.Device, m.p.Raw
	if d.Err() != nil || q.Err() != nil {
		t.Fatalf("faults: driver side %v, device side %v", d.Err(), q.Err())
	}
	if d.Free() != m.free || d.Outstanding() != m.outstanding() {
		t.Fatalf("%d free, %d outstanding, want %d, %d", d.Free(), d.Outstanding(), m.free, m.outstanding())
	}
	pop := m.word(m.avail - m.places(m.visible...))
	if q.Pending() != m.seen || q.NextAvail() != pop {
		t.Fatalf("%d pending from %#x, want %d from %#x", q.Pending(), q.NextAvail(), m.seen, pop)
	}
	position := uint32(pop)
	if m.cfg.Packed {
		position |= uint32(m.word(m.used)) << 16
	} else if raw.AvailIdx() != uint16(m.avail) || raw.UsedIdx() != uint16(m.used) {
		t.Fatalf("avail.idx %d, used.idx %d, want %d, %d", raw.AvailIdx(), raw.UsedIdx(), m.avail, m.used)
	}
	if q.Position() != position {
		t.Fatalf("position %#x, want %#x", q.Position(), position)
	}
}

func (m *model) add(t *rapid.T) {
	m.addParts(t, rapid.IntRange(0, sideParts).Draw(t, "readable"), rapid.IntRange(0, sideParts).Draw(t, "writable"))
}

// addParts adds a buffer with so many parts to be read and to be written.
func (m *model) addParts(t *rapid.T, nr, nw int) {
	if m.cfg.ReadOnly {
		nw = 0
	}
	b := &buffer{need: nr + nw}
	// Each head has its own memory, so that outstanding buffers do not overlap.
	addr := m.p.Mem.Regions()[1].GPA + mem.GPA(int(m.p.Driver.NextHead())%m.cfg.Size*2*sideParts*partBytes)
	var read []vring.Part
	for i := range nr + nw {
		n := rapid.IntRange(0, partBytes).Draw(t, "bytes")
		part := vringtest.Part(addr+mem.GPA(i*partBytes), n)
		if i < nr {
			read = append(read, part)
			b.content = append(b.content, rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "content")...)
		} else {
			b.write = append(b.write, part)
			b.writeLen += n
		}
	}
	if m.cfg.Indirect && b.need > 1 && b.need <= m.cfg.IndirectParts {
		b.need = 1
	}
	n := nr + nw
	want := m.p.Driver.NextHead()
	if fits := n > 0 && n <= m.cfg.Size && b.need <= m.free; fits {
		rest := b.content
		for _, part := range read {
			m.p.Write(mem.GPA(part.Addr), rest[:part.Len])
			rest = rest[part.Len:]
		}
	}
	head, err := m.p.Driver.Add(read, b.write)
	switch {
	case n == 0 || n > m.cfg.Size:
		if err == nil || errors.Is(err, vring.ErrFull) {
			t.Fatalf("buffer of %d parts: %v", n, err)
		}
		return
	case b.need > m.free:
		if !errors.Is(err, vring.ErrFull) {
			t.Fatalf("buffer of %d descriptors with %d free: %v", b.need, m.free, err)
		}
		return
	case err != nil || head != want:
		t.Fatalf("head %d, want %d: %v", head, want, err)
	}
	b.head, b.read = head, read
	m.free -= b.need
	m.added = append(m.added, b)
}

func (m *model) show(t *rapid.T) {
	if got := m.p.Driver.Publish(); got != (len(m.added) > 0) {
		t.Fatalf("driver side publishes %d: %v", len(m.added), got)
	}
	m.avail += m.places(m.added...)
	m.visible = append(m.visible, m.added...)
	m.added = nil
}

func (m *model) needKick(t *rapid.T) {
	want := !m.noKicks
	if m.cfg.EventIdx {
		want = m.everyKick || m.holds(m.availEvent, m.kickedAt, m.avail)
		m.kickedAt = m.avail
	}
	if m.cfg.Packed && m.noKicks {
		want = false // split rings have no flag for it with EVENT_IDX
	}
	if got := m.p.Driver.NeedKick(); got != want {
		t.Fatalf("kick %v, want %v", got, want)
	}
}

func (m *model) available(t *rapid.T) {
	if got := m.p.Device.Available(); got != len(m.visible) {
		t.Fatalf("%d available, want %d", got, len(m.visible))
	}
	m.seen = len(m.visible)
}

func (m *model) pop(t *rapid.T) {
	var c vring.Chain
	if got := m.p.Device.Pop(&c); got != (m.seen > 0) {
		t.Fatalf("popped %v with %d seen", got, m.seen)
	}
	if m.seen == 0 {
		return
	}
	b := m.visible[0]
	m.visible, m.seen = m.visible[1:], m.seen-1
	if !m.cfg.Packed && c.Head != b.head || !bytes.Equal(vringtest.Join(c.Read), b.content) {
		t.Fatalf("popped %d with %x, want %d with %x", c.Head, vringtest.Join(c.Read), b.head, b.content)
	}
	if int(c.ReadLen) != len(b.content) || int(c.WriteLen) != b.writeLen || len(vringtest.Join(c.Write)) != b.writeLen {
		t.Fatalf("lengths %d, %d, want %d, %d", c.ReadLen, c.WriteLen, len(b.content), b.writeLen)
	}
	b.chain, b.pops = c, m.pops
	m.pops++
	m.held = append(m.held, b)
}

// unpop takes back some of the last pops, as long as none has been pushed.
func (m *model) unpop(t *rapid.T) {
	byPop := map[int]*buffer{}
	for _, b := range m.held {
		byPop[b.pops] = b
	}
	var last []*buffer
	for k := m.pops - 1; byPop[k] != nil; k-- {
		last = append(last, byPop[k])
	}
	n := rapid.IntRange(0, len(last)).Draw(t, "unpop")
	m.p.Device.Unpop(n)
	for _, b := range last[:n] {
		m.visible = append([]*buffer{b}, m.visible...)
		for i, h := range m.held {
			if h == b {
				m.held = append(m.held[:i], m.held[i+1:]...)
				break
			}
		}
	}
	m.seen += n
	m.pops -= n
}

func (m *model) push(t *rapid.T) {
	if len(m.held) == 0 {
		return
	}
	i := 0
	if !m.cfg.InOrder {
		i = rapid.IntRange(0, len(m.held)-1).Draw(t, "which")
	}
	b := m.held[i]
	n := rapid.IntRange(0, b.writeLen).Draw(t, "written")
	b.written = rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "answer")
	rest := b.written
	for _, v := range b.chain.Write {
		rest = rest[copy(v, rest):]
	}
	m.p.Device.Push(b.chain.Head, uint32(n))
	m.held = append(m.held[:i], m.held[i+1:]...)
	m.pushed = append(m.pushed, b)
}

func (m *model) publish(t *rapid.T) {
	if got := m.p.Device.Publish(); got != (len(m.pushed) > 0) {
		t.Fatalf("device side publishes %d: %v", len(m.pushed), got)
	}
	m.used += m.places(m.pushed...)
	m.done = append(m.done, m.pushed...)
	m.pushed = nil
}

func (m *model) needSignal(t *rapid.T) {
	want := !m.noInterrupt
	if m.cfg.EventIdx {
		want = m.everyInterrupt || !m.signalledValid || m.holds(m.usedEvent, m.signalled, m.used)
		m.signalled, m.signalledValid = m.used, true
	}
	if m.cfg.Packed && m.noInterrupt {
		want = false
	}
	if got := m.p.Device.NeedSignal(); got != want {
		t.Fatalf("interrupt %v, want %v", got, want)
	}
}

func (m *model) forgetSignals(*rapid.T) {
	m.p.Device.ForgetSignals()
	m.signalledValid = false
}

func (m *model) enableKicks(t *rapid.T) {
	m.availEvent = m.avail - m.places(m.visible[m.seen:]...) // the first not seen
	m.noKicks, m.everyKick = false, false
	if got := m.p.Device.EnableKicks(); got != (len(m.visible) > 0) {
		t.Fatalf("EnableKicks says %v with %d waiting", got, len(m.visible))
	}
	m.seen = len(m.visible)
}

func (m *model) disableKicks(*rapid.T) {
	m.p.Device.DisableKicks()
	m.noKicks = true
	m.availEvent = m.avail - m.places(m.visible[m.seen:]...) - 1 // with split rings: the last seen
}

func (m *model) completed(t *rapid.T) {
	if got := m.p.Driver.Completed(); got != len(m.done) {
		t.Fatalf("%d completed, want %d", got, len(m.done))
	}
	m.seenDone = len(m.done)
}

func (m *model) take(t *rapid.T) {
	var u vring.Used
	if got := m.p.Driver.Take(&u); got != (m.seenDone > 0) {
		t.Fatalf("took %v with %d seen", got, m.seenDone)
	}
	if m.seenDone == 0 {
		return
	}
	b := m.done[0]
	m.done, m.seenDone = m.done[1:], m.seenDone-1
	if u.Head != b.head || int(u.Len) != len(b.written) {
		t.Fatalf("took %+v, want %d with %d bytes", u, b.head, len(b.written))
	}
	var got []byte
	for _, part := range b.write {
		got = append(got, m.p.Read(mem.GPA(part.Addr), int(part.Len))...)
	}
	if !bytes.HasPrefix(got, b.written) {
		t.Fatalf("buffer %d holds %x, the device wrote %x", b.head, got, b.written)
	}
	m.free += b.need
}

func (m *model) enableInterrupts(t *rapid.T) {
	m.usedEvent = m.used - m.places(m.done...)
	if m.cfg.Packed {
		m.usedEvent = m.used - m.places(m.done[m.seenDone:]...) // what is seen is never looked for again
	}
	m.noInterrupt, m.everyInterrupt = false, false
	if got := m.p.Driver.EnableInterrupts(); got != (len(m.done) > 0) {
		t.Fatalf("EnableInterrupts says %v with %d waiting", got, len(m.done))
	}
	m.seenDone = len(m.done)
}

func (m *model) disableInterrupts(*rapid.T) {
	m.p.Driver.DisableInterrupts()
	m.noInterrupt = true
	m.usedEvent = m.used - m.places(m.done...) - 1 // with split rings: the last taken
}

// resetViews gives the views up, which it may only do when no one holds any.
func (m *model) resetViews(*rapid.T) {
	if len(m.held) == 0 {
		m.p.Device.ResetViews()
	}
}
