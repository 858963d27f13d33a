package netfwd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"net"
	"runtime/debug"
	"slices"
	"testing"
	"time"
	"unsafe"

	virtionet "vvufwd/virtio/net"
)

// fakePort is a port in plain memory.
type fakePort struct {
	name     string
	in       [][]byte // to be received
	out      [][]byte // sent
	room     int      // frames that are taken at most; negative: any number
	atOnce   int      // frames that are taken in one call; 0: any number
	pieces   int      // into which frames are cut that are received; 0: one
	segments int      // into which frames are cut that are sent; 0: one
	refuses  bool     // drops them
	bad      uint64   // buffers of its guest's that it finds bad each time
	plain    bool     // frames are described as plain ones
	handed   [][]byte // the last burst, which is kept from the garbage collector
	held     int
	changed  bool
	synced   int
	failed   error
	recovers int
	counters virtionet.Counters
	onTx     func()
	owns     func(uintptr) bool
	less     virtionet.State // how far it is from being active
}

func (p *fakePort) Name() string { return p.name }

func (p *fakePort) State() virtionet.State { return virtionet.StateActive - p.less }

func (p *fakePort) Receive(b *virtionet.Burst) (worked bool) {
	if p.held != 0 {
		panic("Receive while frames are held")
	}
	n := min(len(p.in), virtionet.MaxBurst)
	if p.plain {
		b.Reset()
		for _, f := range p.in[:n] {
			b.Add(virtionet.AddressOf(f), uint32(len(f)))
		}
	} else {
		frames := b.General()
		for i := range n {
			frames[i] = virtionet.Frame{Data: p.cut(p.in[i]), Len: len(p.in[i])}
		}
		b.Truncate(n)
		p.counters.RxPackets += uint64(n)
	}
	p.handed, p.held = p.in[:n], n
	if !p.plain { // else Release takes them
		p.in = p.in[n:]
	}
	return n > 0
}

// Sync is the end of the port's peer.
func (p *fakePort) Sync() (gone bool) {
	p.changed, p.held = false, 0
	p.synced++
	return true
}

// cut makes pieces of a frame, the first ones of a byte each.
func (p *fakePort) cut(b []byte) (pieces [][]byte) {
	for range p.pieces - 1 {
		pieces = append(pieces, b[:1])
		b = b[1:]
	}
	return append(pieces, b)
}

func (p *fakePort) Release(b *virtionet.Burst, first, end int) {
	p.held = max(0, p.held-(end-first)) // 0 after Recover, until which plain ones can be released
	if b.Plain() {
		p.in = p.in[end-first:]
		p.counters.CountReceived(b, first, end)
	}
}

func (p *fakePort) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if p.onTx != nil {
		p.onTx()
	}
	n := end - first
	if p.room >= 0 {
		n = min(n, p.room)
		p.room -= n
	}
	if p.atOnce > 0 {
		n = min(n, p.atOnce)
	}
	frames := b.Frames(first, first+n)
	for i := range frames {
		f := &frames[i]
		if f.Header.NumBuffers != 0 {
			panic("the header was changed for another port")
		}
		f.Header.NumBuffers = 7
		p.out = append(p.out, bytes.Join(f.Data, nil))
	}
	p.counters.Drops[virtionet.DropBadBuffer] += p.bad
	if segments := uint64(n * max(1, p.segments)); p.refuses {
		p.counters.Drops[virtionet.DropTooLong] += segments
	} else {
		p.counters.TxPackets += segments
	}
	return n
}

func (p *fakePort) Notify()                         {}
func (p *fakePort) Changed() bool                   { return p.changed }
func (p *fakePort) Polled() bool                    { return false }
func (p *fakePort) Owns(a uintptr) bool             { return p.owns != nil && p.owns(a) }
func (p *fakePort) Fail(err error)                  { p.failed, p.held = err, 0 }
func (p *fakePort) Recover()                        { p.held = 0; p.recovers++ }
func (p *fakePort) Leave()                          { p.held = 0 }
func (p *fakePort) EnableKicks(bool) (f, r bool)    { return len(p.in) > 0, false }
func (p *fakePort) DisableKicks()                   {}
func (p *fakePort) Counters() *virtionet.Counters   { return &p.counters }
func (p *fakePort) WakeFDs() []int                  { return nil }
func (p *fakePort) drops(why virtionet.Drop) uint64 { return p.counters.Drops[why] }

// fakeSwitch is a switch of fake ports.
type fakeSwitch struct {
	*Switch
	t     *testing.T
	ports []*fakePort
	now   time.Time
}

// newFakeSwitch makes a switch of n ports; change may change their configuration.
func newFakeSwitch(t *testing.T, n int, change func(i int, p *SwitchPort)) *fakeSwitch {
	t.Helper()
	s := &fakeSwitch{t: t, now: time.Unix(1000, 0)}
	cfg := SwitchConfig{MACAge: testAge, MACLimit: 16}
	for i := range n {
		s.ports = append(s.ports, &fakePort{name: fmt.Sprint("p", i), room: -1})
		port := SwitchPort{End: End{Queues: []Port{s.ports[i]}}}
		if change != nil {
			change(i, &port)
		}
		cfg.Ports = append(cfg.Ports, port)
	}
	var err error
	if s.Switch, err = newSwitch(cfg); err != nil {
		t.Fatal(err)
	}
	s.housekeep(s.now)
	return s
}

func addressOf(a mac) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(a))[:6] }

var broadcast = macBits

// frame is a frame between stations with a number in it.
func frame(dst, src mac, number int) []byte {
	b := append(addressOf(dst), addressOf(src)...)
	b = append(b, 0x88, 0xb5)
	return binary.BigEndian.AppendUint32(b, uint32(number))
}

// pass receives frames at a port and steps until the switch is done with them.
func (s *fakeSwitch) pass(port int, frames ...[]byte) {
	s.ports[port].in = append(s.ports[port].in, frames...)
	s.run()
}

func (s *fakeSwitch) run() {
	s.t.Helper()
	for rounds := 0; s.step() || slices.ContainsFunc(s.ports, func(p *fakePort) bool { return len(p.in) > 0 }); rounds++ {
		if rounds > 100_000 {
			s.t.Fatal("the switch does not get done")
		}
	}
}

// arrived returns the ports at which exactly this frame came out, and empties all.
func (s *fakeSwitch) arrived(want []byte) (at []int) {
	s.t.Helper()
	for i, p := range s.ports {
		for _, got := range p.out {
			if !bytes.Equal(got, want) {
				s.t.Errorf("port %d sent %x, want %x", i, got, want)
			}
			at = append(at, i)
		}
		p.out = nil
	}
	return at
}

// clear forgets what came out.
func (s *fakeSwitch) clear() {
	for _, p := range s.ports {
		p.out = nil
	}
}

// expect passes a frame and checks where it comes out.
func (s *fakeSwitch) expect(port int, f []byte, want ...int) {
	s.t.Helper()
	s.pass(port, f)
	if got := s.arrived(f); !slices.Equal(got, want) {
		s.t.Errorf("a frame from port %d came out at %v, want %v", port, got, want)
	}
}

func TestSwitchLearns(t *testing.T) {
	s := newFakeSwitch(t, 8, nil)
	s.expect(2, frame(station(5), station(2), 0), 0, 1, 3, 4, 5, 6, 7) // unknown
	s.expect(5, frame(station(2), station(5), 1), 2)
	s.expect(2, frame(station(5), station(2), 2), 5)
	s.expect(2, frame(broadcast, station(2), 3), 0, 1, 3, 4, 5, 6, 7)
	s.expect(2, frame(mac(0x5e0001), station(2), 4), 0, 1, 3, 4, 5, 6, 7)
	s.expect(2, frame(station(2), station(9), 5)) // at home behind the same port
	if got := s.ports[2].drops(virtionet.DropFiltered); got != 1 {
		t.Errorf("%d filtered, want 1", got)
	}
	// A station that moves is found at its new place at once.
	s.expect(6, frame(station(5), station(2), 6), 5)
	s.expect(5, frame(station(2), station(5), 7), 6)
	// VLAN tags pass as they are.
	tagged := append(append(frame(station(2), station(5), 0)[:12:12], 0x81, 0x00, 0x20, 0x05), frame(0, 0, 8)[12:]...)
	s.expect(5, tagged, 6)
	var stats snapshot
	s.describe(&stats)
	if want := (SwitchStats{Ports: 8, Learned: 3, Moves: 1, Floods: 3}); stats.sw != want {
		t.Errorf("counted %+v, want %+v", stats.sw, want)
	}
}

func TestSwitchForgets(t *testing.T) {
	s := newFakeSwitch(t, 3, nil)
	s.pass(0, frame(broadcast, station(0), 0))
	s.arrived(frame(broadcast, station(0), 0))
	s.expect(1, frame(station(0), station(1), 1), 0)
	s.housekeep(s.now.Add(testAge / 2))
	s.expect(0, frame(station(1), station(0), 2), 1) // still spoken of
	s.housekeep(s.now.Add(testAge + 2*time.Second))
	s.expect(0, frame(station(1), station(0), 3), 1, 2)
	s.expect(1, frame(station(0), station(1), 4), 0)
	// Another guest behind the port: nothing is known of it.
	s.ports[0].changed = true
	s.expect(1, frame(station(0), station(1), 5), 0, 2)
	if s.ports[0].synced != 1 || s.ports[1].synced != 0 {
		t.Errorf("synced %d and %d times", s.ports[0].synced, s.ports[1].synced)
	}
}

func TestSwitchForwardsNoReservedAddress(t *testing.T) {
	s := newFakeSwitch(t, 3, nil)
	for last := range 0x10 {
		s.expect(0, frame(mac(0xc28001)|mac(last)<<40, station(0), last))
	}
	if got := s.ports[0].drops(virtionet.DropFiltered); got != 0x10 {
		t.Errorf("%d filtered, want 16", got)
	}
	s.expect(0, frame(mac(0xc28001)|0x10<<40, station(0), 99), 1, 2)
}

// Stations 1 to 6 have ports with fixed addresses, 7 is the NIC, 0 is free.
func fixed(i int, p *SwitchPort) {
	if i >= 1 && i <= 6 {
		p.Address = net.HardwareAddr(addressOf(station(i)))
	}
	p.Uplink = i == 7
}

func TestSwitchRefusesSpoofing(t *testing.T) {
	s := newFakeSwitch(t, 8, fixed)
	spoofed := func(port int, f []byte) {
		t.Helper()
		before := s.ports[port].drops(virtionet.DropSpoofed)
		s.expect(port, f)
		if got := s.ports[port].drops(virtionet.DropSpoofed) - before; got != 1 {
			t.Errorf("%d frames counted as spoofed, want 1", got)
		}
	}
	s.expect(2, frame(station(3), station(2), 0), 3) // known without learning
	s.expect(7, frame(station(3), station(100), 1), 3)
	spoofed(2, frame(station(3), station(1), 2)) // another port's
	spoofed(2, frame(station(3), station(9), 3)) // no one's
	spoofed(2, frame(station(3), broadcast, 4))
	spoofed(2, frame(station(3), 0, 5))
	spoofed(0, frame(station(3), station(2), 6)) // from a port that may use any but others'
	spoofed(0, frame(station(3), station(100), 7))
	spoofed(7, frame(station(3), station(2), 8)) // and from the network
	spoofed(0, frame(station(3), 0, 9))
	spoofed(0, frame(station(3), station(9)|1, 10))
	s.expect(0, frame(station(3), station(50), 11), 3)
	s.expect(3, frame(station(100), station(3), 12), 7)
	s.expect(3, frame(station(50), station(3), 13), 0)
	// A spoofed frame between good ones costs none of them.
	good := frame(station(3), station(2), 14)
	s.pass(2, good, frame(station(3), station(1), 15), good)
	if got := s.arrived(good); !slices.Equal(got, []int{3, 3}) {
		t.Errorf("good frames came out at %v, want port 3 twice", got)
	}
}

// The very first frame of a switch is checked too.
func TestSwitchRefusesNoAddressAtFirst(t *testing.T) {
	s := newFakeSwitch(t, 2, nil)
	s.expect(0, frame(station(1), 0, 0))
}

// A guest can change a frame in its memory after it was checked. What is sent is
// what was checked.
func TestSwitchSendsTheAddressesItChecked(t *testing.T) {
	for pieces := range 16 {
		s := newFakeSwitch(t, 3, fixed)
		for _, p := range s.ports {
			p.pieces = pieces
		}
		f := frame(station(2), station(1), 1)
		want := bytes.Clone(f)
		s.ports[2].onTx = func() { copy(f, frame(mac(0xc28001), station(0), 0)[:12]) }
		s.pass(1, f)
		if len(s.ports[2].out) != 1 || !bytes.Equal(s.ports[2].out[0], want) {
			t.Errorf("in %d pieces: sent %x, want %x", pieces, s.ports[2].out, want)
		}
	}
}

func TestSwitchIsolates(t *testing.T) {
	s := newFakeSwitch(t, 8, func(i int, p *SwitchPort) {
		p.Isolated, p.Uplink = i < 6, i == 7 // 6 is an app VM that all may reach
		if i == 1 {
			p.Address = net.HardwareAddr(addressOf(station(1)))
		}
	})
	for i := range 8 {
		if i < 6 {
			s.expect(i, frame(broadcast, station(i), i), 6, 7)
		}
	}
	s.expect(7, frame(broadcast, station(7), 7), 0, 1, 2, 3, 4, 5, 6)
	s.expect(6, frame(broadcast, station(6), 6), 0, 1, 2, 3, 4, 5, 7)
	for i := range 6 {
		for j := range 8 {
			switch {
			case i == j:
			case j < 6:
				s.expect(i, frame(station(j), station(i), 10)) // learned or static, there is no way
			default:
				s.expect(i, frame(station(j), station(i), 11), j)
				s.expect(j, frame(station(i), station(j), 12), i)
			}
		}
	}
	s.expect(0, frame(station(77), station(0), 13), 6, 7) // unknown
	if got := s.ports[0].drops(virtionet.DropFiltered); got != 5 {
		t.Errorf("%d filtered, want 5", got)
	}
}

// Whatever the traffic, each port's frames come out once at each port that they are
// for, never where they came from, and those of one source in their order.
func TestSwitchKeepsOrderWithoutLoops(t *testing.T) {
	s := newFakeSwitch(t, 8, nil)
	rng := rand.New(rand.NewSource(1))
	const perPort = 2000
	want := [8][8]map[uint32]bool{} // from, at: numbers that must come out
	for i := range 8 {
		for j := range 8 {
			want[i][j] = map[uint32]bool{}
		}
		s.pass(i, frame(broadcast, station(i), 0))
	}
	s.clear()
	for i, p := range s.ports {
		for n := 1; n <= perPort; n++ {
			dst, to := broadcast, rng.Intn(9)
			if to < 8 {
				dst = station(to)
			}
			for j := range 8 {
				if j != i && (to == j || to == 8) {
					want[i][j][uint32(n)] = true
				}
			}
			p.in = append(p.in, frame(dst, station(i), n))
		}
	}
	s.run()
	for j, p := range s.ports {
		last := map[int]uint32{}
		for _, f := range p.out {
			i := int(macOf(f[6:])>>16) - 1
			n := binary.BigEndian.Uint32(f[14:])
			if n <= last[i] {
				t.Fatalf("port %d: frame %d of %d after %d", j, n, i, last[i])
			}
			last[i] = n
			if !want[i][j][n] {
				t.Fatalf("port %d: frame %d of %d is not for it", j, n, i)
			}
			delete(want[i][j], n)
		}
		for i := range 8 {
			if len(want[i][j]) != 0 {
				t.Errorf("port %d lacks %d frames of %d", j, len(want[i][j]), i)
			}
		}
	}
}

// A port that takes nothing delays no one and loses only what is its own.
func TestSwitchDoesNotWaitForRoom(t *testing.T) {
	s := newFakeSwitch(t, 3, nil)
	for i := range 3 {
		s.pass(i, frame(broadcast, station(i), 0))
	}
	s.clear()
	s.ports[1].room = 10
	for n := range 100 {
		s.ports[0].in = append(s.ports[0].in, frame(station(1), station(0), n), frame(station(2), station(0), n))
	}
	s.run()
	if got := len(s.ports[2].out); got != 100 {
		t.Errorf("the good port got %d of 100 frames", got)
	}
	if got, drops := len(s.ports[1].out), s.ports[1].drops(virtionet.DropNoRoom); got != 10 || drops != 90 {
		t.Errorf("the full port got %d frames and dropped %d, want 10 and 90", got, drops)
	}
	s.clear()
	s.ports[1].room = -1
	// One that does only some in one call is asked again, but does not cut for ever.
	for _, c := range []struct {
		atOnce, segments int
		refuses          bool
		want             int
	}{
		{20, 1, false, 64}, {10, 1, false, 64}, {1, 1, false, 64}, // as a NIC does where segments and others take turns
		{1, 45, false, 64}, {1, 2048, false, sendWork / 2048}, {1, 2048, true, sendWork / 2048}, {7, sendWork, false, 7}, {0, 2048, false, 64},
	} {
		s.ports[1].atOnce, s.ports[1].segments, s.ports[1].refuses = c.atOnce, c.segments, c.refuses
		before := s.ports[1].drops(virtionet.DropNoRoom)
		for n := range 64 {
			s.ports[0].in = append(s.ports[0].in, frame(station(1), station(0), n))
		}
		s.run()
		got, drops := len(s.ports[1].out), s.ports[1].drops(virtionet.DropNoRoom)-before
		if got != c.want || drops != uint64(64-c.want) {
			t.Errorf("%d of 64 frames and %d drops at a port that takes %d at once, in %d segments each; want %d", got, drops, c.atOnce, c.segments, c.want)
		}
		s.clear()
	}
	s.ports[1].segments, s.ports[1].refuses = 0, false
	s.ports[1].atOnce = 0
	s.expect(0, frame(station(1), station(0), 1000), 1)
}

// Copies are paid for: a port that floods 63 others gets one turn while another
// gets 63.
func TestSwitchFloodsFairly(t *testing.T) {
	s := newFakeSwitch(t, MaxSwitchPorts, nil)
	for i := range s.ports {
		s.pass(i, frame(broadcast, station(i), 0))
	}
	for n := range 10_000 {
		s.ports[0].in = append(s.ports[0].in, frame(broadcast, station(0), n))
		s.ports[1].in = append(s.ports[1].in, frame(station(2), station(1), n))
	}
	for len(s.ports[1].in) > 0 {
		s.step()
	}
	flooded := 10_000 - len(s.ports[0].in)
	if flooded < 64 || flooded > 10_000/63+3*virtionet.MaxBurst {
		t.Errorf("%d frames were flooded while another port sent 10000", flooded)
	}
	if !s.enableKicks() {
		t.Error("the switch would sleep while a port waits for its turn")
	}
}

// So are the pieces of large frames: a port that has such cut, for another one or for all, gets as many turns as if
// it had sent the pieces, whatever becomes of them.
func TestSwitchCutsFairly(t *testing.T) {
	const n, many = 10_000, 145
	for name, c := range map[string]struct {
		dst     mac
		pieces  int
		refuses bool // the ports to which they go
		each    int  // frames that each costs
	}{
		"for one port":        {station(2), many, false, many - usualPieces},
		"for all":             {broadcast, many, false, 1 + 3*(many-usualPieces)},
		"which drops them":    {station(2), many, true, many - usualPieces},
		"for none":            {station(0), many, false, 1},
		"as many as usual":    {station(2), usualPieces, false, 1},
		"and buffers are bad": {station(3), 1, false, 1},
	} {
		s := newFakeSwitch(t, 5, nil)
		for i := range s.ports {
			s.pass(i, frame(broadcast, station(i), 0))
		}
		for _, p := range s.ports[2:] {
			p.segments, p.refuses = c.pieces, c.refuses
		}
		s.ports[3].bad = 100
		for i := range n {
			s.ports[0].in = append(s.ports[0].in, frame(c.dst, station(0), i))
			s.ports[1].in = append(s.ports[1].in, frame(station(0), station(1), i))
		}
		for len(s.ports[1].in) > 0 {
			s.step()
		}
		if sent := n - len(s.ports[0].in); sent < n/c.each/2 || sent > n/c.each+3*virtionet.MaxBurst {
			t.Errorf("%s: %d frames had their turn while another port sent %d", name, sent, n)
		}
	}
}

// Memory that vanishes fails its owner, and no one else.
func TestSwitchContainsFaults(t *testing.T) {
	gone := mapped(t, 4096)
	begin := uintptr(unsafe.Pointer(&gone[0]))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	good := frame(station(2), station(0), 1)
	for name, c := range map[string]struct {
		in     []byte // comes in at port 0, for port 2
		onTx   func() // at port 2
		owner  int
		failed []int
	}{
		"while addresses are read":        {gone[:100], nil, 0, []int{0}},
		"while a frame is copied":         {good, func() { gone[7] = 1 }, 2, []int{2}},
		"and belongs to a third":          {good, func() { gone[7] = 1 }, 3, []int{3}},
		"and belongs to no one":           {good, func() { gone[7] = 1 }, noPort, []int{0, 2}},
		"is not what happened, but a bug": {good, func() { panic("a bug") }, 2, []int{0, 2}},
	} {
		s := newFakeSwitch(t, 4, nil)
		for i := range 4 {
			s.pass(i, frame(broadcast, station(i), 0))
		}
		s.clear()
		if c.owner != noPort {
			s.ports[c.owner].owns = func(a uintptr) bool { return a >= begin && a < begin+4096 }
		}
		s.ports[0].in, s.ports[2].onTx = [][]byte{c.in}, c.onTx
		err := guarded(func() { s.step() })
		if err == nil {
			t.Fatalf("%s: no fault", name)
		}
		reported := s.contain(err)
		var failed []int
		for i, p := range s.ports {
			if p.failed != nil {
				failed = append(failed, i)
			}
			if (p.failed == nil) != (p.recovers == 1) || p.held != 0 {
				t.Errorf("%s: port %d failed with %v, recovered %d times, holds %d", name, i, p.failed, p.recovers, p.held)
			}
		}
		if !slices.Equal(failed, c.failed) || len(reported) != len(failed) {
			t.Errorf("%s: ports %v failed, want %v; reported %d", name, failed, c.failed, len(reported))
		}
		s.ports[2].onTx = nil
		s.expect(1, frame(station(3), station(1), 1), 3)
		s.expect(0, good, 2)
	}
}

// A burst that a fault breaks off is dropped: some ports have its frames already, and would get
// them twice if it came again. What comes after it is sent.
func TestSwitchSendsNothingTwiceAfterAFault(t *testing.T) {
	gone := mapped(t, 4096)
	begin := uintptr(unsafe.Pointer(&gone[0]))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, plain := range []bool{false, true} {
		s := newFakeSwitch(t, 4, nil)
		for i := range 4 {
			s.pass(i, frame(broadcast, station(i), 0))
		}
		s.clear()
		s.ports[2].owns = func(a uintptr) bool { return a >= begin && a < begin+4096 }
		s.ports[2].onTx = func() { gone[7] = 1 }
		s.ports[0].plain = plain
		for n := range 2 * virtionet.MaxBurst {
			s.ports[0].in = append(s.ports[0].in, frame(broadcast, station(0), n))
		}
		err := guarded(func() {
			for range 4 { // a flood waits for its turn
				s.step()
			}
		})
		if err == nil {
			t.Fatal("no fault")
		}
		if failed := s.contain(err); len(failed) != 1 || failed[0] != Port(s.ports[2]) {
			t.Fatalf("plain %v: %d ports failed, want the one whose memory is gone", plain, len(failed))
		}
		s.ports[2].onTx = nil
		s.run()
		for i, want := range map[int]int{1: 2 * virtionet.MaxBurst, 2: virtionet.MaxBurst, 3: virtionet.MaxBurst} {
			if got := len(s.ports[i].out); got != want {
				t.Errorf("plain %v: %d frames at port %d, want %d", plain, got, i, want)
			}
		}
		for n, f := range s.ports[1].out {
			if !bytes.Equal(f, frame(broadcast, station(0), n)) {
				t.Fatalf("plain %v: frame %d at port 1 is %x", plain, n, f)
			}
		}
		if got := s.ports[0].drops(virtionet.DropStopped); plain && got != virtionet.MaxBurst { // else a port's Recover counts them
			t.Errorf("%d frames counted as dropped", got)
		}
		s.clear()
		s.ports[0].plain = false
		s.expect(0, frame(broadcast, station(0), 1000), 1, 2, 3)
	}
}

// Queue pairs of a guest are used as soon as they get their first buffers, though control has
// nothing to say about it.
func TestSwitchUsesPairsThatGetBuffers(t *testing.T) {
	s, p := newQueuesSwitch(t, 2, 2)
	p[1][1].less, p[1][1].changed = virtionet.StateActive-virtionet.StateSending, true
	send := func() {
		for q := range p[0] {
			p[0][q].in = [][]byte{frame(station(1), station(0), q)}
			s.step()
		}
	}
	s.step()
	if send(); len(p[1][0].out) != 2 || len(p[1][1].out) != 0 {
		t.Fatalf("%d and %d frames, want both at the pair with buffers", len(p[1][0].out), len(p[1][1].out))
	}
	p[1][1].less = 0
	s.housekeep(time.Unix(1001, 0))
	if send(); len(p[1][0].out) != 3 || len(p[1][1].out) != 1 {
		t.Errorf("%d and %d frames, want one more at each", len(p[1][0].out), len(p[1][1].out))
	}
}

// roomyPort has just got its first buffers.
type roomyPort struct{ *fakePort }

func (p roomyPort) EnableKicks(bool) (frames, room bool) { return false, true }

// A guest's first buffers, which its kick came too early for, keep the loop from sleeping.
func TestSwitchDoesNotSleepOnFirstBuffers(t *testing.T) {
	s, p := newQueuesSwitch(t, 1, 2)
	if s.enableKicks() {
		t.Error("there is work in an empty switch")
	}
	s.all[2] = newMember(roomyPort{p[1][1]})
	if !s.enableKicks() {
		t.Error("the loop sleeps, and no one uses the buffers")
	}
}

func TestSwitchRefusesImpossibleConfigurations(t *testing.T) {
	port := func(i int, a mac) SwitchPort {
		return SwitchPort{End: End{Queues: []Port{&fakePort{name: fmt.Sprint("p", i)}}}, Address: net.HardwareAddr(addressOf(a))}
	}
	var many []SwitchPort
	for i := range MaxSwitchPorts + 1 {
		many = append(many, port(i, station(i)))
	}
	for _, ports := range [][]SwitchPort{nil, many[:1], many, {port(0, station(1)), port(1, station(1))}} {
		if _, err := newSwitch(SwitchConfig{Ports: ports, MACAge: time.Second, MACLimit: 1}); err == nil {
			t.Errorf("accepted %d ports", len(ports))
		}
	}
	if _, err := newSwitch(SwitchConfig{Ports: many[:MaxSwitchPorts], MACAge: time.Second, MACLimit: 1}); err != nil {
		t.Error(err)
	}
}
