package igbvf

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/netfwd/nic/intel/inteltest/suite"
	"vvufwd/vfio/pci"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// fastest makes a card that does not wait long for answers.
func fastest(t *testing.T, f *inteltest.Function) *card {
	t.Helper()
	r := suite.OpenFunction(t, f, Driver)
	c := r.Card.(*card)
	c.box.limit = 50 * time.Millisecond
	return c
}

// TestOpen looks at what was asked for, and told.
func TestOpen(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	if c.Info().MAC.String() != "52:54:00:00:00:05" || c.Info().MTU != 9000 || len(c.Queues()) != 1 {
		t.Errorf("%+v", c.Info())
	}
	if want := []uint32{1, 5, 6 | 2<<16}; !slices.Equal(f.PF.Log, want) {
		t.Errorf("asked for %#x, want %#x", f.PF.Log, want)
	}
	if f.Peek(0x1700) != 0x8281 || f.Peek(0x1740) != 0x80 || f.Peek(0x2828)&(1<<25) == 0 || f.Peek(0x3828)&(1<<25) == 0 || f.Peek(0x280c) != 1<<25|2 {
		t.Error("queue or vectors are not set up")
	}
}

// TestNoAddress gets one of its own, unless that is refused.
func TestNoAddress(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	f.PF.MAC = nil
	c := fastest(t, f)
	if mac := c.Info().MAC; len(f.PF.MACs) != 1 || !bytes.Equal(f.PF.MACs[0][:], mac) || mac[0]&3 != 2 {
		t.Errorf("%v, asked for %v", mac, f.PF.MACs)
	}
	f = inteltest.NewFunction(t, inteltest.I82576VF)
	f.PF.MAC, f.PF.Refuse = nil, []uint32{2}
	if _, err := Driver.Open(f, suite.Config(f)); err == nil || !strings.Contains(err.Error(), "ip link set") {
		t.Errorf("error %v", err)
	}
}

// TestRefusals make do with less.
func TestRefusals(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	f.PF.Refuse = []uint32{5, 6}
	c := fastest(t, f)
	if c.Info().MTU != 1500 {
		t.Errorf("MTU %d", c.Info().MTU)
	}
	// All groups are refused: the usual ones, six of them, by their hashes.
	last := f.PF.Last
	if last[0] != 3|6<<16 || last[1] != 0x010<<16|0x010 && last[1]&0xffff != 0x010 {
		t.Errorf("groups %#x", last[:4])
	}
}

// TestPFIsDown says so, in one line.
func TestPFIsDown(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	f.PF.Down = true
	began := time.Now()
	_, err := Driver.Open(f, suite.Config(f))
	if err == nil || !strings.Contains(err.Error(), "is its interface up?") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if d := time.Since(began); d < answerLimit {
		t.Errorf("it waited %v", d)
	}
}

// TestPFIsReset ends Watch, whether the message came or not.
func TestPFIsReset(t *testing.T) {
	for name, reset := range map[string]func(f *inteltest.Function){
		"seen":      func(f *inteltest.Function) { f.ResetByPF() },
		"under way": func(f *inteltest.Function) { f.Poke(regMailbox, mbResets) },
		"said":      func(f *inteltest.Function) { f.Say(msgControl) },
	} {
		t.Run(name, func(t *testing.T) {
			f := inteltest.NewFunction(t, inteltest.I82576VF)
			c := fastest(t, f)
			done := make(chan error)
			go func() { done <- c.Watch(context.Background(), func(bool) {}) }()
			reset(f)
			if err := <-done; !errors.Is(err, errReset) {
				t.Errorf("error %v", err)
			}
		})
	}
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	f.Say(msgControl | msgClear) // its link has changed, or it says hello
	if err := c.check(); err != nil {
		t.Errorf("a greeting: %v", err)
	}
}

// frame is one of station n, to a group or not.
func frame(n int, group bool, tag ...byte) []byte {
	b := []byte{0x52, 0x54, 0, 0, 9, 9, 0x52, 0x54, 0, 0, 7, byte(n)}
	if group {
		copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	}
	b = append(append(b, tag...), 8, 6)
	return append(b, make([]byte, 60)...)
}

func station(n int) [6]byte { return [6]byte(frame(n, false)[6:]) }

// voice has a station send, and the chip take it: the ring has room for the next.
func voice(c *card, n int, tag ...byte) {
	q := c.Queues()[0]
	if q.Transmit(nettest.BurstOf(nettest.Frame(frame(n, false, tag...))), 0, 1) != 1 {
		panic("a station cannot send")
	}
	q.Notify()
	c.Function.(*inteltest.Function).Transmit(0, 100)
	q.InFlight()
}

// stopClock has time pass for a card only by what it returns.
func stopClock(c *card) (pass func(time.Duration)) {
	now := time.Now()
	c.now, c.aged = func() time.Time { return now }, now
	return func(d time.Duration) { now = now.Add(d) }
}

// TestAgesAreTime, however often Watch looks.
func TestAgesAreTime(t *testing.T) {
	c := fastest(t, inteltest.NewFunction(t, inteltest.I82576VF))
	pass := stopClock(c)
	voice(c, 1)
	look := func(times, want int) {
		t.Helper()
		for range times {
			if err := c.check(); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(c.voices.All(nil)); n != want {
			t.Errorf("%d stations are remembered, want %d", n, want)
		}
	}
	look(300, 1)
	pass(29 * time.Second)
	look(1, 1)
	pass(2 * time.Second) // 31 s after the first look: one age
	look(300, 1)
	pass(31 * time.Second)
	look(1, 0)
}

// TestAddressesAreAskedFor of those who send.
func TestAddressesAreAskedFor(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	pass := stopClock(c)
	ask := func() {
		t.Helper()
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
	}
	voice(c, 1)
	ask()
	ask()
	if len(f.PF.MACs) != 1 || f.PF.MACs[0] != station(1) {
		t.Fatalf("asked for %v", f.PF.MACs)
	}
	voice(c, 2, 0x81, 0, 0x20, 5)
	ask()
	if len(f.PF.MACs) != 2 || f.PF.MACs[1] != station(2) || !slices.Contains(f.PF.Log, 2|2<<16) {
		t.Errorf("for a second station asked for %v: %#x", f.PF.MACs, f.PF.Log)
	}
	if !slices.Equal(f.PF.VLANs, []uint32{5}) {
		t.Errorf("VLANs %v", f.PF.VLANs)
	}
	before := len(f.PF.Log)
	for n := range 200 { // someone wants to keep us busy
		voice(c, n)
	}
	for range 10 {
		ask()
	}
	if n := len(f.PF.Log) - before; n > maxMACs+2 {
		t.Errorf("%d messages for what one app VM sends", n)
	}
	// The rest is counted, each once; its own address may be among those that are served.
	if want := uint64(len(c.voices.All(nil)) - maxMACs); refused(c) < want || refused(c) > want+1 {
		t.Errorf("%d are refused, of %d", refused(c), want)
	}
	for range 2 { // all are old
		pass(agePeriod)
		ask()
	}
	voice(c, 99)
	ask()
	if n := len(f.PF.MACs); f.PF.MACs[n-1] != station(99) {
		t.Errorf("for a station that came later asked for %v", f.PF.MACs)
	}
	voice(c, 100)
	ask()
	if !slices.Equal(f.PF.MACs, [][6]byte{station(99), station(100)}) {
		t.Errorf("for one more asked for %v", f.PF.MACs)
	}
	const clear = 2 | 1<<16
	before = count(f.PF.Log, clear)
	for n := range 200 { // someone wants to keep us busy again
		voice(c, n)
		ask()
	}
	if n := count(f.PF.Log, clear) - before; n != 0 {
		t.Errorf("addresses were taken back %d times more in an age", n)
	}
}

func refused(c nic.Card) uint64 {
	stats := c.Statistics()
	return stats[slices.IndexFunc(stats, func(s nic.Statistic) bool { return s.Name == "requests_refused" })].Value
}

// look has a card check itself.
func look(t *testing.T, c *card) {
	t.Helper()
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
}

// apart returns stations of which none pushes another out of what is remembered.
func apart(t *testing.T) (stations []int) {
	c := fastest(t, inteltest.NewFunction(t, inteltest.I82576VF))
	for n := range 200 {
		voice(c, n)
	}
	for _, mac := range c.voices.All(nil) {
		stations = append(stations, int(mac[5]))
	}
	slices.Sort(stations) // as they are asked for
	return stations
}

// TestPlacesChangeHands from stations that are silent to those that have none, if there are such.
func TestPlacesChangeHands(t *testing.T) {
	n := apart(t)
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	pass := stopClock(c)
	speak := func(stations ...int) {
		t.Helper()
		for _, n := range stations {
			voice(c, n)
		}
		look(t, c)
		look(t, c)
	}
	serves := func(what string, refusals uint64, clears int, stations ...int) {
		t.Helper()
		ok := len(f.PF.MACs) == len(stations)
		for _, n := range stations {
			ok = ok && slices.Contains(f.PF.MACs, station(n))
		}
		if cleared := count(f.PF.Log, 2|1<<16); !ok || refused(c) != refusals || cleared != clears {
			t.Errorf("%s: asked for %v, want %v; %d are counted, want %d; cleared %d times, want %d",
				what, f.PF.MACs, stations, refused(c), refusals, cleared, clears)
		}
	}
	const all = maxMACs + 1 // with its own
	speak(n[0])
	speak(n[:all]...)
	serves("one each", 0, 0, n[:all]...)
	for range 2 {
		pass(agePeriod)
		speak(n[0])
	}
	serves("most only listen", 0, 0, n[:all]...)
	speak(n[1 : all+1]...)
	serves("one too many", 1, 0, n[:all]...)
	speak(n[all+1])
	serves("two too many", 2, 0, n[:all]...)
	for range 2 {
		pass(agePeriod)
		speak(append(n[2:all+2:all+2], n[0])...)
	}
	serves("one is silent", 2, 1, append(n[2:all+1:all+1], n[0])...)
	for range 2 {
		pass(agePeriod)
		speak(n[2 : all+2]...)
	}
	serves("its own is silent", 2, 1, n[2:all+2]...)
}

// TestVLANsChangeHands as places do.
func TestVLANsChangeHands(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	pass := stopClock(c)
	speak := func(first, last int) {
		for id := first; id <= last; id++ {
			voice(c, 1, 0x81, 0, byte(id>>8), byte(id))
		}
		look(t, c)
		look(t, c)
	}
	serves := func(first, last int, refusals uint64) {
		t.Helper()
		ok := len(f.PF.VLANs) == last-first+1
		for id := first; id <= last; id++ {
			ok = ok && slices.Contains(f.PF.VLANs, uint32(id))
		}
		if !ok || refused(c) != refusals {
			t.Errorf("asked for %v, want %d to %d; %d are counted, want %d", f.PF.VLANs, first, last, refused(c), refusals)
		}
	}
	speak(1, maxVLANs+1)
	serves(1, maxVLANs, 1)
	for range 2 {
		pass(agePeriod)
		speak(2, maxVLANs+1)
	}
	serves(2, maxVLANs+1, 1)
}

// TestRefusedAddresses are asked for once, take no place, and are counted once.
func TestRefusedAddresses(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	pass := stopClock(c)
	f.PF.Refuse = []uint32{2}
	for range 10 {
		voice(c, 1)
		look(t, c)
		pass(agePeriod)
	}
	if n := count(f.PF.Log, 2); n != 1 || refused(c) != 1 || len(c.asked.more) != 0 {
		t.Errorf("asked %d times for what is refused, counted %d, kept %v", n, refused(c), c.asked.more)
	}
}

func count(log []uint32, word uint32) (n int) {
	for _, w := range log {
		if w == word {
			n++
		}
	}
	return n
}

// TestOwnBroadcasts do not go back to where they came from; others' do.
func TestOwnBroadcasts(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	voice(c, 1)
	q := c.Queues()[0]
	var burst virtionet.Burst
	arrives := func(b []byte) bool {
		f.Receive(0, b, inteltest.Arrival{})
		burst.Reset()
		q.Receive(&burst)
		q.Release(&burst, 0, burst.Len())
		q.Notify()
		return burst.Len() == 1
	}
	for range 200 {
		if arrives(frame(1, true)) {
			t.Fatal("its own broadcast arrives")
		}
	}
	if !arrives(frame(2, true)) || !arrives(frame(1, false)) {
		t.Error("someone else's broadcast, or a frame to one station, does not arrive")
	}
	if q.Counters().Dropped() != 0 || c.voices.Echoed() != 200 {
		t.Errorf("counted %+v, and %d echoes", q.Counters().Drops, c.voices.Echoed())
	}
	c.voices.Age()
	c.voices.Age()
	if !arrives(frame(1, true)) {
		t.Error("a station that has moved elsewhere is not heard")
	}
}

// TestNewVoicesWakeControl, but not for ever.
func TestNewVoicesWakeControl(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	c := fastest(t, f)
	woken := 0
	for n := range 100 {
		voice(c, n)
		if f.Fired(0) {
			woken++
		}
	}
	if woken == 0 || woken > 20 {
		t.Errorf("woken %d times", woken)
	}
}

func TestHash(t *testing.T) {
	// The example of 82576 chapter 8: bits 47 to 36 of 12:34:56:78:9a:bc.
	if got := hash([6]byte{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc}); got != 0xbc9 {
		t.Errorf("%#x, want 0xbc9", got)
	}
}

// TestTagsOfOtherFunctions: the I350 says tags of frames that other functions of the card send with their bytes swapped, the
// 82576 does not.
func TestTagsOfOtherFunctions(t *testing.T) {
	for _, tt := range []struct {
		device uint16
		of     inteltest.Arrival
	}{
		{0x10ca, inteltest.Arrival{VLAN: 0x2005}}, {0x10ca, inteltest.Arrival{VLAN: 0x2005, Loopback: true}},
		{i350, inteltest.Arrival{VLAN: 0x2005}}, {i350, inteltest.Arrival{VLAN: 0x0520, Loopback: true}},
	} {
		f := inteltest.NewFunction(t, inteltest.I82576VF)
		f.Config().Store16(pci.OffsetDevice, tt.device)
		q := fastest(t, f).Queues()[0]
		frame := nettest.Payload(60, 1)
		f.Receive(0, frame, tt.of)
		var b virtionet.Burst
		if q.Receive(&b); b.Len() != 1 {
			t.Fatalf("%#x: %d frames arrived", tt.device, b.Len())
		}
		got := bytes.Join(b.Frames(0, 1)[0].Data, nil)
		if want := append(append(bytes.Clone(frame[:12]), 0x81, 0, 0x20, 0x05), frame[12:]...); !bytes.Equal(got, want) {
			t.Errorf("%#x, %+v: the tag is %x", tt.device, tt.of, got[12:16])
		}
		q.Release(&b, 0, 1)
	}
}

// TestLongPlainFrames: what is longer than the host lets through is dropped and counted, also if it fits one buffer.
func TestLongPlainFrames(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576VF)
	f.PF.Refuse = []uint32{5}
	q := fastest(t, f).Queues()[0]
	long := nettest.Payload(1519, 1)
	var b virtionet.Burst
	b.Reset()
	b.Add(virtionet.AddressOf(long), uint32(len(long)))
	b.Add(virtionet.AddressOf(long), 1518)
	for sent := 0; sent < 2; {
		n := q.Transmit(&b, sent, 2)
		if sent += n; n == 0 {
			t.Fatal("frames wait")
		}
	}
	if c := q.Counters(); c.TxPackets != 1 || c.Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("%d frames sent, %d too long, want 1 and 1", c.TxPackets, c.Drops[virtionet.DropTooLong])
	}
}
