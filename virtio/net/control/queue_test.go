package control

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// Where things lie in a guest's memory.
const (
	memory   = 1 << 18
	base     = 0x10000
	entries  = 64
	buffers  = 1 << 16 // offset of buffers
	noAnswer = 0xee
)

var formats = map[string]bool{"split": false, "packed": true}

// driver is a driver with its memory, and the device that serves its control queue.
type driver struct {
	t      testing.TB
	bytes  []byte
	driver *vring.Driver
	queue  *Queue
	limit  int
}

func newDriver(t testing.TB, packed bool) *driver {
	g := &driver{t: t, bytes: make([]byte, memory), limit: 8} // so large that it begins with a page
	table, err := mem.New([]mem.Region{{GPA: base, Mem: g.bytes}})
	if err != nil {
		t.Fatal(err)
	}
	g.driver, err = vring.NewDriver(vring.DriverConfig{Size: entries, Memory: g.bytes[:vring.DriverBytes(entries)], Base: base, Packed: packed, EventIdx: true})
	if err != nil {
		t.Fatal(err)
	}
	desc, avail, used := g.driver.Addresses()
	cfg := vring.DeviceConfig{Size: entries, Mem: table, Desc: mem.GPA(desc), Avail: mem.GPA(avail), Used: mem.GPA(used), Packed: packed, EventIdx: true, Indirect: true}
	if packed {
		cfg.NextAvail = vring.FirstSlot
	}
	ring, err := vring.NewDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.queue = &Queue{Ring: ring}
	return g
}

// send lays a command out in pieces that end at cuts, and room bytes for the answer, which
// begins at the end of the memory that they take. It returns where.
func (g *driver) send(command []byte, cuts []int, room []int) (answer []byte) {
	g.t.Helper()
	at := buffers
	copy(g.bytes[at:], command)
	var read, write []vring.Part
	last := 0
	for _, cut := range append(slices.Clone(cuts), len(command)) {
		if cut > last {
			read = append(read, vring.Part{Addr: base + uint64(at+last), Len: uint32(cut - last)})
			last = cut
		}
	}
	at += len(command)
	answer = g.bytes[at : at+8]
	for i := range answer {
		answer[i] = noAnswer
	}
	for _, n := range room {
		write = append(write, vring.Part{Addr: base + uint64(at), Len: uint32(n)})
		at += n
	}
	if _, err := g.driver.Add(read, write); err != nil {
		g.t.Fatal(err)
	}
	g.driver.Publish()
	return answer
}

// returned takes back a buffer and tells how much was written into it.
func (g *driver) returned() int {
	g.t.Helper()
	var u vring.Used
	if g.driver.Completed() != 1 || !g.driver.Take(&u) {
		g.t.Fatalf("%d buffers came back, want 1 (%v, %v)", g.driver.Completed(), g.driver.Err(), g.queue.Ring.Err())
	}
	return int(u.Len)
}

// A command may lie in any number of descriptors, cut anywhere, and the answer too
// (5.1.6.5, 2.7.4.2): what it says is the same.
func TestAnyShape(t *testing.T) {
	command := []byte{7, 9, 1, 2, 3, 4, 5}
	var shapes [][]int
	for bits := range 1 << (len(command) - 1) {
		var cuts []int
		for i := range len(command) - 1 {
			if bits&(1<<i) != 0 {
				cuts = append(cuts, i+1)
			}
		}
		shapes = append(shapes, cuts)
	}
	for name, packed := range formats {
		g := newDriver(t, packed)
		for _, cuts := range shapes {
			for _, room := range [][]int{{1}, {1, 3}, {4}} {
				for _, ok := range []bool{true, false} {
					answer := g.send(command, cuts, room)
					var got []byte
					n, more := g.queue.Serve(g.limit, func(class, command byte, d *Data) bool {
						if answer[0] != noAnswer {
							t.Fatalf("%s: answered before it was done", name)
						}
						got = append([]byte{class, command}, make([]byte, d.Len())...)
						for i := range got[2:] { // in pieces of other sizes
							if !d.Take(got[2+i : 3+i]) {
								t.Fatalf("%s: data ends at %d", name, i)
							}
						}
						if d.Len() != 0 || d.Take(make([]byte, 1)) || d.Skip(1) {
							t.Errorf("%s: there is more after the end", name)
						}
						return ok
					})
					if n != 1 || more || !bytes.Equal(got, command) {
						t.Fatalf("%s, cut at %v: served %d, more %v, command %x", name, cuts, n, more, got)
					}
					want := []byte{map[bool]byte{true: 0, false: 1}[ok], noAnswer}
					if written := g.returned(); written != 1 || !bytes.Equal(answer[:2], want) {
						t.Fatalf("%s, cut at %v, room %v: wrote %d, answer %x, want %x", name, cuts, room, written, answer[:2], want)
					}
				}
			}
		}
	}
}

// Whatever is no command comes back, refused if there is room to say so: a guest spins for
// the answer.
func TestNoCommand(t *testing.T) {
	for name, packed := range formats {
		g := newDriver(t, packed)
		for _, tt := range []struct {
			command []byte
			room    []int
			calls   int
			written int
		}{
			{nil, []int{1}, 0, 1},
			{[]byte{4}, []int{1}, 0, 1},
			{[]byte{4, 0}, []int{1}, 1, 1},
			{[]byte{4}, nil, 0, 0},
			{[]byte{4, 0, 1, 0}, nil, 0, 0}, // not done, for no one would know
		} {
			answer := g.send(tt.command, nil, tt.room)
			calls := 0
			n, more := g.queue.Serve(g.limit, func(byte, byte, *Data) bool { calls++; return false })
			if n != 1 || more || calls != tt.calls || g.queue.Ring.Err() != nil {
				t.Fatalf("%s, %x: served %d, more %v, %d commands, %v", name, tt.command, n, more, calls, g.queue.Ring.Err())
			}
			if written := g.returned(); written != tt.written || written > 0 && answer[0] != 1 {
				t.Errorf("%s, %x: wrote %d, answer %d", name, tt.command, written, answer[0])
			}
		}
	}
}

// Commands without end are done some at a time, and all kicks are asked for before
// anybody sleeps.
func TestLimit(t *testing.T) {
	for name, packed := range formats {
		g := newDriver(t, packed)
		done := 0
		do := func(byte, byte, *Data) bool { done++; return true }
		for range 10 {
			g.send([]byte{0, 0, 1}, nil, []int{1})
		}
		for i, want := range []int{4, 4, 2, 0} {
			if n, more := g.queue.Serve(4, do); n != want || more != (want == 4) {
				t.Errorf("%s: round %d: served %d, more %v", name, i, n, more)
			}
		}
		if g.send([]byte{0, 0, 1}, nil, []int{1}); done != 10 || !g.driver.NeedKick() {
			t.Errorf("%s: %d done, and the next brings no kick", name, done)
		}
	}
}

// A chain that breaks a rule stops the ring and nothing else.
func TestBrokenRing(t *testing.T) {
	g := newDriver(t, false)
	g.send([]byte{0, 0, 1}, nil, []int{1})
	binary.LittleEndian.PutUint64(g.bytes, 0xdead_0000_0000) // the first descriptor's address
	n, more := g.queue.Serve(4, func(byte, byte, *Data) bool { t.Error("carried out"); return true })
	if n != 0 || more || g.queue.Ring.Err() == nil {
		t.Errorf("served %d, more %v, fault %v", n, more, g.queue.Ring.Err())
	}
}

// fuzzCommand puts one command through a queue and settings.
func fuzzCommand(t *testing.T, s *Settings, command []byte, cut, packed bool) bool {
	g := newDriver(t, packed)
	var cuts []int
	if cut {
		cuts = []int{1, len(command) / 3, len(command) / 2}
		slices.Sort(cuts)
	}
	answer := g.send(command, cuts, []int{1})
	n, _ := g.queue.Serve(1, s.Do)
	if n != 1 || g.returned() != 1 || answer[0] > 1 {
		t.Fatalf("%x: served %d, answer %d", command, n, answer[0])
	}
	return answer[0] == 0
}

// Any bytes as commands, one after the other: nothing panics, each is answered, and the
// settings stay within their limits.
func FuzzCommands(f *testing.F) {
	all := Features | virtio.NetMQ | virtio.NetGuestAnnounce
	f.Add(uint64(all), true, []byte("\x00\x00\x01"), []byte("\x04\x00\x02\x00"))
	f.Add(uint64(all), false, []byte("\x01\x01\x02\x03\x04\x05\x06\x07"), []byte("\x02\x00\x05\x00"))
	f.Add(uint64(all), true, tableCommand(2, 3), []byte("\x03\x00"))
	f.Add(uint64(all), true, tableCommand(300, 1), []byte("\x02\x01\xff\x0f"))
	f.Add(uint64(virtio.NetCtrlVQ), true, tableCommand(0, 0), []byte("\x00\x05\x02"))
	f.Fuzz(func(t *testing.T, features uint64, packed bool, first, second []byte) {
		const most = 4
		var own [6]byte
		cfg := Config{Features: virtio.Features(features), MaxPairs: most, SetMAC: func(mac [6]byte) bool { own = mac; return true }}
		for _, s := range []*Settings{New(cfg), Unknown(cfg)} {
			for _, c := range [][]byte{first, second, first} {
				c = c[:min(len(c), 4096)]
				before := []any{s.Pairs(), s.Filter(own), own}
				if !fuzzCommand(t, s, c, len(c)%2 == 0, packed) && !reflect.DeepEqual(before, []any{s.Pairs(), s.Filter(own), own}) {
					t.Fatalf("%x was refused and changed something", c)
				}
				if s.Pairs() < 1 || s.Pairs() > most || len(s.addresses) > 2*maxAddresses || own[0]&1 != 0 {
					t.Fatalf("%x: %d pairs, %d addresses, own %x", c, s.Pairs(), len(s.addresses), own)
				}
			}
		}
	})
}
