package guest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// auditor compares what changes in a guest's memory with what is marked in its log.
type auditor struct {
	table  *mem.Table
	log    *mem.DirtyLog
	bitmap []byte
	before [][]byte // of each region
}

func newAuditor(t testing.TB, table *mem.Table) *auditor {
	t.Helper()
	size := table.LogBytes()
	a := &auditor{table: table, bitmap: make([]byte, (size+2*mem.DirtyPage-1)/mem.DirtyPage*mem.DirtyPage)}
	const skip = 3 // no one promises that a log is aligned
	var err error
	if a.log, err = mem.NewDirtyLog(table, a.bitmap, skip, size); err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Regions() {
		a.before = append(a.before, make([]byte, len(r.Mem)))
	}
	a.bitmap = a.bitmap[skip:]
	return a
}

// begin takes the marks away, as a monitor does that has sent the pages.
func (a *auditor) begin() {
	clear(a.bitmap)
	for i, r := range a.table.Regions() {
		copy(a.before[i], r.Mem)
	}
}

// end reports the first page that has changed since begin and is not marked, and how many
// have changed and are.
func (a *auditor) end() (changed, marked int, err error) {
	for i, r := range a.table.Regions() {
		for at := 0; at < len(r.Mem); {
			page := (uint64(r.GPA) + uint64(at)) / mem.DirtyPage
			next := min(int((page+1)*mem.DirtyPage-uint64(r.GPA)), len(r.Mem))
			if !bytes.Equal(a.before[i][at:next], r.Mem[at:next]) {
				if changed++; a.bitmap[page/8]>>(page%8)&1 == 0 {
					err = errors.Join(err, fmt.Errorf("page %#x of region %d has changed and is not marked", page, i))
				}
			}
			at = next
		}
	}
	for _, b := range a.bitmap {
		for ; b != 0; b &= b - 1 {
			marked++
		}
	}
	return changed, marked, err
}

// logCase is what a guest negotiated.
type logCase struct{ packed, eventIdx, indirect, mergeable, offloads bool }

// Whatever a guest negotiated and whatever it does, every page that we change is marked
// when the call that changed it returns: frames with their headers, completions, and what
// we ask to be told of. Snapshots of all memory before and after each call tell.
func TestEveryChangedPageIsMarked(t *testing.T) {
	each := 1
	if testing.Short() {
		each = 3 // of five choices: each of them comes with and without
	}
	for k := 0; k < 32; k += each {
		on := func(bit int) bool { return k>>bit&1 != 0 }
		c := logCase{on(0), on(1), on(2), on(3), on(4)}
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) { checkMarks(t, c, uint64(k)) })
	}
}

func checkMarks(t *testing.T, c logCase, seed uint64) {
	packedRings = c.packed
	defer func() { packedRings = false }()
	rnd := rand.New(rand.NewPCG(seed, 1))
	q := running
	q.Mergeable = c.mergeable
	if c.offloads {
		q.Sends = nettest.AllOffloads
		if rnd.IntN(2) == 0 {
			q.Takes = nettest.AllOffloads
		}
	}
	// Long rings reach over several pages, and regions begin and end within one.
	cfg := vringtest.Config{
		Size: 512, EventIdx: c.eventIdx, Indirect: c.indirect, RingBase: 0x10a10, HeapBase: 0x40000a10, HeapBytes: 768 << 10, Regions: 3,
	}
	r := newGuestRig(t, cfg, q)
	audits := []*auditor{newAuditor(t, r.rx.Mem), newAuditor(t, r.tx.Mem)}
	install := func(logged bool) {
		q := *r.cur
		q.ToGuestLog, q.FromGuestLog = nil, nil
		if logged {
			for i, p := range []*vringtest.Pair{r.rx, r.tx} {
				l, ok := vring.NewLogging(audits[i].log, p.DeviceConfig.Desc, p.DeviceConfig.Used, cfg.Size, c.packed)
				if !ok {
					t.Fatal("the log does not cover the ring")
				}
				*[]**vring.Logging{&q.ToGuestLog, &q.FromGuestLog}[i] = l
			}
		}
		r.install(&q)
	}
	changed, marked := 0, 0
	step := func(what string, act func()) {
		t.Helper()
		for _, a := range audits {
			a.begin()
		}
		act()
		for i, a := range audits {
			n, m, err := a.end()
			if err != nil {
				t.Fatalf("%s, %s: %v", what, []string{"receive ring", "transmit ring"}[i], err)
			}
			changed, marked = changed+n, marked+m
		}
	}

	step("beginning to log", func() { install(true) })
	buffers := r.logBuffers(t, c, rnd)
	shapes := packettest.Shapes(t, 5000)
	var frames [virtionet.MaxBurst]virtionet.Frame
	moved := 0
	for range 50 {
		r.offerAgain(t, buffers)
		for range rnd.IntN(12) {
			r.sendSomething(t, c, shapes, rnd)
		}
		n := 0
		step("rxFrames", func() { n = r.rxFrames(frames[:]) })
		for sent := 0; sent < n; {
			var done int
			step("txFrames", func() { done = r.txFrames(frames[sent:n]) })
			step("Release", func() { r.release(done) })
			if sent += done; done == 0 {
				r.offerAgain(t, buffers)
			}
			moved += done
		}
		step("Notify", r.Notify)
		step("DisableKicks", r.DisableKicks)
		step("EnableKicks", func() { r.EnableKicks(true) })
		r.reclaim()
		switch rnd.IntN(20) {
		case 0:
			step("a change", func() { install(true) })
		case 1:
			install(false) // no one wants to know any more
			step("beginning to log", func() { install(true) })
		}
	}
	if len(r.failures) != 0 || moved < 100 || changed < 200 {
		t.Errorf("%d frames moved, %d pages changed and %d marks made: %v", moved, changed, marked, r.failures)
	}
	if marked > 10*changed {
		t.Errorf("%d marks for %d changed pages", marked, changed)
	}
}

// logBuffers are receive buffers, some in parts: what a mergeable frame is spread over, or
// large enough for any.
func (r *guestRig) logBuffers(t *testing.T, c logCase, rnd *rand.Rand) (buffers [][]vring.Part) {
	n, size := 100, func() int { return 60 + rnd.IntN(3000) }
	if !c.mergeable {
		n, size = 30, func() int { return 5800 }
	}
	for range n {
		var parts []vring.Part
		for left := size(); left > 0; {
			n := left
			if rnd.IntN(3) == 0 {
				n = min(left, 12+rnd.IntN(left))
			}
			addr, _ := r.rx.Alloc(n)
			parts = append(parts, vringtest.Part(addr, n))
			left -= n
			if len(parts) == 7 && left > 0 {
				addr, _ := r.rx.Alloc(left)
				parts = append(parts, vringtest.Part(addr, left))
				left = 0
			}
		}
		buffers = append(buffers, parts)
	}
	return buffers
}

// offerAgain gives the device the buffers, once what it gave back is taken.
func (r *guestRig) offerAgain(t *testing.T, buffers [][]vring.Part) {
	t.Helper()
	r.reclaim()
	for _, parts := range buffers {
		if r.rx.Driver.Outstanding() >= len(buffers) || r.rx.Driver.Free() < len(parts) {
			break
		}
		if _, err := r.rx.Driver.Add(nil, parts); err != nil {
			t.Fatal(err)
		}
	}
	r.rx.Driver.Publish()
}

// reclaim takes what came back to both rings.
func (r *guestRig) reclaim() {
	for _, d := range []*vring.Driver{r.rx.Driver, r.tx.Driver} {
		d.Completed()
		for u := (vring.Used{}); d.Take(&u); {
		}
	}
}

// sendSomething offers a frame in one of the places for it, if there is room in the ring.
func (r *guestRig) sendSomething(t *testing.T, c logCase, shapes []packettest.Shape, rnd *rand.Rand) {
	t.Helper()
	if r.txPlaces == nil {
		for range 16 {
			addr, _ := r.tx.Alloc(6000)
			r.txPlaces = append(r.txPlaces, addr)
		}
	}
	if r.tx.Driver.Outstanding() >= len(r.txPlaces) || r.tx.Driver.Free() < 2 {
		return
	}
	b, h := nettest.Payload(virtionet.MinFrame+rnd.IntN(1500), rnd.IntN(256)), virtionet.Header{}
	if s := shapes[rnd.IntN(len(shapes))]; c.offloads && rnd.IntN(2) == 0 {
		b, h = s.Unfinished(), nettest.GSOHeader(s, 400+rnd.IntN(1000))
	}
	var raw [virtionet.HeaderLen]byte
	h.Put(&raw)
	at := r.txPlaces[r.txSent%len(r.txPlaces)] // as many are under way at most
	r.txSent++
	r.tx.Write(at, raw[:])
	r.tx.Write(at+virtionet.HeaderLen, b)
	if _, err := r.tx.Driver.Add([]vring.Part{vringtest.Part(at, virtionet.HeaderLen), vringtest.Part(at+virtionet.HeaderLen, len(b))}, nil); err != nil {
		t.Fatal(err)
	}
	r.tx.Driver.Publish()
}

// A burst that is broken off after something was written marks what it may have written.
func TestBrokenBurstIsMarked(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, running)
	a := newAuditor(t, r.rx.Mem)
	l, _ := vring.NewLogging(a.log, r.rx.DeviceConfig.Desc, r.rx.DeviceConfig.Used, 256, false)
	q := *r.cur
	q.ToGuestLog = l
	r.install(&q)
	for range 4 {
		r.offer(t, 2048)
	}
	a.begin()
	gone, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(gone)
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Fatal("the burst was not broken off")
			}
		}()
		r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(1000, 4)), nettest.Frame(nettest.Payload(500, 3), gone[:500])}) // the sender's memory is gone
	}()
	r.Recover()
	if changed, _, err := a.end(); err != nil || changed < 2 {
		t.Errorf("%d pages changed: %v", changed, err)
	}
}
