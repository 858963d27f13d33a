package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/control"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

const (
	memoryBytes = 1 << 20
	userBase    = 1 << 30
	commandRing = memoryBytes / 2 // where the control queue lies
	commandSize = 64
	commandAt   = commandRing + 64<<10
	patience    = 20 * time.Second
)

// commander is a session whose guest has a control queue.
type commander struct {
	*bench
	ring     int // the control queue's
	packed   bool
	kick     int
	driver   *vring.Driver
	features virtio.Features
}

// newCommander makes a session of some pairs, all of whose rings run and are enabled, with
// these features in force.
func newCommander(t *testing.T, pairs int, features virtio.Features) *commander {
	t.Helper()
	b := newBenchWith(t, pairs, &fakeCarrier{memory: sharedMemory(t)})
	c := &commander{bench: b, packed: features.Has(virtio.RingPacked), features: features | virtio.Version1 | virtio.ProtocolFeatures}
	b.send(vhostuser.SetFeatures, vhostuser.U64(c.features))
	c.ring = b.session.controlRing()
	for ring := range 2 * pairs {
		if ring != c.ring {
			c.startPair(ring)
		}
	}
	var err error
	if c.kick, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(c.kick) })
	return c
}

// sharedMemory is the guest's memory: a file, so that it can vanish.
func sharedMemory(t *testing.T) []byte {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, memoryBytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(fd, 0, memoryBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(memory); unix.Close(fd) })
	vanish[&memory[0]] = func() { unix.Ftruncate(fd, 0) }
	return memory
}

// vanish cuts the files of memories, by where they begin.
var vanish = map[*byte]func(){}

// startPair starts a ring of a pair and enables it.
func (c *commander) startPair(ring int) {
	c.t.Helper()
	i, at := uint32(ring), uint64(userBase+ring<<12)
	c.send(vhostuser.SetVringNum, vhostuser.VringState{Index: i, Num: 16})
	memory := c.carrier.memory[ring<<12:]
	if c.packed {
		c.send(vhostuser.SetVringBase, vhostuser.VringState{Index: i, Num: uint32(vring.FirstSlot)})
		memory[14] = 1 << 7 // the first descriptor is available
	} else {
		memory[512+2] = 1 // so is the first chain
	}
	c.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: i, Desc: at, Avail: at + 512, Used: at + 1024})
	c.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(ring)})
	c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: i, Num: 1})
}

// begin lays the control queue out again and starts it, with an eventfd for kicks or none.
func (c *commander) begin(kicks bool) {
	c.t.Helper()
	var err error
	memory := c.carrier.memory[commandRing:][:vring.DriverBytes(commandSize)]
	clear(memory)
	if c.driver, err = vring.NewDriver(vring.DriverConfig{Size: commandSize, Memory: memory, Base: commandRing, Packed: c.packed, EventIdx: c.features.Has(virtio.EventIdx)}); err != nil {
		c.t.Fatal(err)
	}
	base := uint32(0)
	if c.packed {
		base = uint32(vring.FirstSlot)
	}
	c.goOn(base, kicks)
}

// goOn starts the control queue at a place.
func (c *commander) goOn(base uint32, kicks bool) {
	c.t.Helper()
	i := uint32(c.ring)
	desc, avail, used := c.driver.Addresses()
	c.carrier.kicks[c.ring] = -1
	if kicks {
		c.carrier.kicks[c.ring] = c.kick
	}
	c.send(vhostuser.SetVringNum, vhostuser.VringState{Index: i, Num: commandSize})
	c.send(vhostuser.SetVringBase, vhostuser.VringState{Index: i, Num: base})
	c.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: i, Desc: userBase + desc, Avail: userBase + avail, Used: userBase + used})
	c.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(i), NoFD: !kicks})
	c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: i, Num: 1})
}

// end stops the control queue and returns where it stands.
func (c *commander) end() uint32 {
	c.t.Helper()
	c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(c.ring)})
	var v vhostuser.VringState
	if err := v.Decode(c.send(vhostuser.GetVringBase, vhostuser.VringState{Index: uint32(c.ring)}).Payload); err != nil {
		c.t.Fatal(err)
	}
	return v.Num
}

// offer puts a command into the queue and kicks.
func (c *commander) offer(command ...byte) {
	c.t.Helper()
	memory := c.carrier.memory[commandAt:]
	n := copy(memory, command)
	memory[n] = 0xee
	if _, err := c.driver.Add([]vring.Part{{Addr: commandAt, Len: uint32(n)}}, []vring.Part{{Addr: uint64(commandAt + n), Len: 1}}); err != nil {
		c.t.Fatal(err)
	}
	c.driver.Publish()
	unix.Write(c.kick, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// answered waits for the answer to a command of n bytes.
func (c *commander) answered(n int) (ok bool, err error) {
	var u vring.Used
	for deadline := time.Now().Add(patience); c.driver.Completed() == 0 || !c.driver.Take(&u); time.Sleep(100 * time.Microsecond) {
		if c.driver.Err() != nil {
			return false, c.driver.Err()
		}
		if time.Now().After(deadline) {
			return false, errors.New("no answer")
		}
	}
	answer := c.carrier.memory[commandAt+n]
	if answer > 1 || u.Len != 1 {
		return false, fmt.Errorf("answer %#x in %d bytes", answer, u.Len)
	}
	return answer == 0, nil
}

// do carries a command out, which must be acknowledged as wanted.
func (c *commander) do(want bool, command ...byte) {
	c.t.Helper()
	c.offer(command...)
	if ok, err := c.answered(len(command)); err != nil || ok != want {
		c.t.Fatalf("command %x: acknowledged %v, %v, want %v", command, ok, err, want)
	}
}

// takers is at which pairs frames are taken.
func (c *commander) takers() (pairs []int) {
	for i, g := range c.guests {
		if g.State() == virtionet.StateActive {
			pairs = append(pairs, i)
		}
	}
	return pairs
}

func (c *commander) wantTakers(when string, want ...int) {
	c.t.Helper()
	if got := c.takers(); !slices.Equal(got, want) {
		c.t.Errorf("%s: frames are taken at pairs %v, want %v", when, got, want)
	}
}

// mac is the address in the configuration space.
func (c *commander) mac() (mac [6]byte) {
	c.t.Helper()
	var v vhostuser.Config
	if err := v.Decode(c.send(vhostuser.GetConfig, vhostuser.Config{Data: make([]byte, 6)}).Payload); err != nil {
		c.t.Fatal(err)
	}
	return [6]byte(v.Data)
}

const withMQ = control.Features | virtio.NetMQ | virtio.EventIdx

var ringFormats = map[string]virtio.Features{"split": 0, "packed": virtio.RingPacked}

// The guest chooses how many pairs it receives at, one at first; by the time of the
// acknowledgement it is so.
func TestGuestChoosesPairs(t *testing.T) {
	for name, format := range ringFormats {
		for _, kicks := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, kicks %v", name, kicks), func(t *testing.T) {
				c := newCommander(t, 4, withMQ|format)
				c.begin(kicks)
				c.wantTakers("at first", 0)
				c.do(true, 4, 0, 3, 0)
				c.wantTakers("of 3", 0, 1, 2)
				c.do(false, 4, 0, 5, 0)
				c.do(false, 4, 0, 0, 0)
				c.do(false, 4, 0, 2)
				c.wantTakers("after refusals", 0, 1, 2)
				c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: 2})
				c.wantTakers("with a disabled ring", 0, 2)
				c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: 2, Num: 1})
				for n := 4; n >= 1; n-- {
					c.do(true, 4, 0, byte(n), 0)
					c.wantTakers("fewer and fewer", []int{0, 1, 2, 3}[:n]...)
				}
			})
		}
	}
}

// Who has not negotiated MQ takes frames at the first pair alone, whatever is enabled
// (5.1.2); where a monitor keeps the control queue to itself, at what it enables.
func TestPairsByNegotiation(t *testing.T) {
	for name, tt := range map[string]struct {
		features virtio.Features
		want     []int
	}{
		"nothing":                        {0, []int{0}},
		"a control queue alone":          {virtio.NetCtrlVQ, []int{0}},
		"QEMU: its own control queue":    {virtio.NetMQ, []int{0, 1, 2, 3}},
		"cloud-hypervisor: unused by us": {virtio.NetMQ | virtio.NetCtrlVQ, []int{0, 1, 2, 3}},
	} {
		c := newCommander(t, 4, tt.features)
		c.wantTakers(name, tt.want...)
		c.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures))
		c.wantTakers(name+", then nothing", 0)
		c.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures|virtio.NetMQ))
		if c.ring == 2 { // until now it was no pair's
			c.startPair(2)
		}
		c.wantTakers(name+", then MQ", 0, 1, 2, 3)
	}
}

// Without MQ the control queue is ring 2, with it the one after all pairs (5.1.2), also
// where there is only one pair.
func TestPlaceOfTheControlQueue(t *testing.T) {
	for _, tt := range []struct {
		pairs    int
		features virtio.Features
		ring     int
	}{{1, control.Features, 2}, {4, control.Features, 2}, {4, withMQ, 8}, {MaxPairs, withMQ, 16}} {
		c := newCommander(t, tt.pairs, tt.features)
		if c.ring != tt.ring {
			t.Fatalf("%d pairs: ring %d, want %d", tt.pairs, c.ring, tt.ring)
		}
		c.begin(true)
		c.do(true, 0, 0, 0)
		c.do(tt.features.Has(virtio.NetMQ), 4, 0, 1, 0)
		if said := c.logs.FilterMessageSnippet("more queue pairs than are served").Len(); said != 0 {
			t.Errorf("%d pairs: the control queue is taken for one too many", tt.pairs)
		}
	}
}

// A guest that goes on has what it has set; one whose device was reset has nothing set;
// and of one that set things before we came, all is taken to be wanted.
func TestWhatStaysSet(t *testing.T) {
	for name, format := range ringFormats {
		t.Run(name, func(t *testing.T) {
			c := newCommander(t, 4, withMQ|format)
			c.begin(true)
			c.do(true, 4, 0, 2, 0)
			c.do(true, 1, 1, 2, 0, 0, 0, 0, 42)
			for range 3 { // a pause
				at := c.end()
				c.wantTakers("paused", 0, 1)
				c.goOn(at, true)
				c.wantTakers("resumed", 0, 1)
				c.do(true, 0, 1, 1)
			}
			c.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: memoryBytes, UVA: userBase}})
			c.wantTakers("another table", 0, 1)
			c.do(true, 4, 0, 3, 0)
			c.end() // a reset
			c.begin(true)
			c.wantTakers("reset", 0)
			c.do(true, 4, 0, 3, 0)
			at := c.end()
			if err := c.session.Reset(); err != nil { // as if we had been restarted
				t.Fatal(err)
			}
			c.send(vhostuser.SetFeatures, vhostuser.U64(c.features))
			c.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: memoryBytes, UVA: userBase}})
			for ring := range 8 {
				c.startPair(ring)
			}
			c.goOn(at, true)
			c.wantTakers("unknown", 0, 1, 2, 3)
			c.do(true, 4, 0, 2, 0)
			c.wantTakers("known again", 0, 1)
		})
	}
}

// A ring that is restarted where it happens to be at its beginning is no new one.
func TestWhatStaysSetAtTheBeginning(t *testing.T) {
	for name, restart := range map[string]func(*commander){
		"another table": func(c *commander) {
			c.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: memoryBytes, UVA: userBase}})
		},
		"a region that comes back": func(c *commander) {
			region := vhostuser.SingleRegion{Size: memoryBytes, UVA: userBase}
			c.send(vhostuser.RemMemReg, region)
			c.send(vhostuser.AddMemReg, region)
		},
		"other features": func(c *commander) {
			c.send(vhostuser.SetFeatures, vhostuser.U64(c.features|virtio.NetMrgRxbuf))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommander(t, 4, withMQ|virtio.RingPacked)
			c.begin(true)
			at := func() uint16 {
				c.session.mu.Lock()
				defer c.session.mu.Unlock()
				return c.session.rings[c.ring].NextAvail()
			}
			for n := 0; n == 0 || at() != vring.FirstSlot; n++ {
				c.do(true, 4, 0, 2, 0)
			}
			restart(c)
			c.wantTakers("restarted", 0, 1)
			c.do(true, 4, 0, 3, 0)
			c.end()
			c.begin(true)
			c.wantTakers("reset", 0)
		})
	}
}

// The address that a guest sets is in the configuration space, unless it has a fixed one.
func TestGuestSetsItsAddress(t *testing.T) {
	c := newCommander(t, 2, withMQ)
	c.begin(true)
	if got := c.mac(); got != [6]byte{} {
		t.Errorf("address %x before any is set", got)
	}
	c.do(true, 1, 1, 2, 0, 0, 0, 0, 42)
	c.do(false, 1, 1, 3, 0, 0, 0, 0, 43)
	if got := c.mac(); got != [6]byte{2, 0, 0, 0, 0, 42} {
		t.Errorf("address %x", got)
	}
	var fixed = [6]byte{2, 0, 0, 0, 0, 7}
	b := newBenchWith(t, 2, &fakeCarrier{memory: sharedMemory(t)})
	if err := b.session.SetAddress(fixed); err != nil {
		t.Fatal(err)
	}
	var offered vhostuser.U64
	if err := offered.Decode(b.send(vhostuser.GetFeatures, nil).Payload); err != nil || !virtio.Features(offered).Has(virtio.NetMAC) {
		t.Errorf("an address that is known is not offered: %v, %v", virtio.Features(offered), err)
	}
	c.bench = b
	c.send(vhostuser.SetFeatures, vhostuser.U64(c.features))
	c.begin(true)
	c.do(false, 1, 1, 2, 0, 0, 0, 0, 42)
	c.do(true, 1, 1, 2, 0, 0, 0, 0, 7)
	if got := c.mac(); got != fixed {
		t.Errorf("address %x, want the fixed one", got)
	}
}

// A disabled queue waits. Commands that came meanwhile are carried out when it is enabled.
func TestDisabledControlQueueWaits(t *testing.T) {
	c := newCommander(t, 4, withMQ)
	c.begin(true)
	c.do(true, 0, 0, 1)
	c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(c.ring)})
	c.offer(4, 0, 4, 0)
	for range 20 { // each looks at the queue's state again
		c.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(c.ring)})
	}
	if c.driver.Completed() != 0 {
		t.Error("a disabled queue carries commands out")
	}
	c.wantTakers("disabled", 0)
	c.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(c.ring), Num: 1})
	if ok, err := c.answered(4); err != nil || !ok {
		t.Errorf("acknowledged %v, %v", ok, err)
	}
	c.wantTakers("enabled", 0, 1, 2, 3)
}

// Memory that vanishes costs the guest its control queue and nothing else, and the end of
// the session nothing either.
func TestControlQueueMemoryVanishes(t *testing.T) {
	for name, format := range ringFormats {
		t.Run(name, func(t *testing.T) {
			c := newCommander(t, 1, control.Features|format)
			c.begin(true)
			c.do(true, 0, 0, 1)
			vanish[&c.carrier.memory[0]]()
			unix.Write(c.kick, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			said := func() int { return c.logs.FilterMessageSnippet("control queue").Len() }
			for deadline := time.Now().Add(patience); said() == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			}
			errs := c.logs.FilterMessageSnippet("control queue").All()
			if len(errs) != 1 || !strings.Contains(fmt.Sprint(errs[0].ContextMap()["error"]), "vanished") {
				t.Fatalf("the log says %v", errs)
			}
			for range 10 {
				unix.Write(c.kick, []byte{1, 0, 0, 0, 0, 0, 0, 0})
				c.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(c.ring)})
			}
			if said() != 1 {
				t.Error("it is said again and again")
			}
		})
	}
}

// Messages and commands at the same time, in any order: run with the race detector.
func TestCommandsAndMessages(t *testing.T) {
	c := newCommander(t, 4, withMQ)
	c.begin(true)
	var table []byte
	table = append(table, 1, 0)
	table = binary.LittleEndian.AppendUint32(table, 0)
	table = binary.LittleEndian.AppendUint32(table, 0)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			m := []vhostuser.Message{
				vhostuser.NewRequest(vhostuser.SetVringEnable, vhostuser.VringState{Index: i % 8, Num: i / 8 % 2}),
				vhostuser.NewRequest(vhostuser.GetConfig, vhostuser.Config{Data: make([]byte, 6)}),
				vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(i % 9), NoFD: i%2 == 0}),
				vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 8}),
				vhostuser.NewRequest(vhostuser.NetSetMTU, vhostuser.U64(1000+i%100)),
			}[i%5]
			if _, err := c.session.Handle(m); err != nil {
				t.Error(err)
				return
			}
			c.session.Regions()
		}
	}()
	for i := range 200 {
		c.do(true, 4, 0, byte(i%4+1), 0)
		c.do(true, 0, 0, byte(i%2))
		c.do(true, table...)
		c.do(true, 1, 1, 2, 0, 0, 0, 0, byte(i))
	}
	close(stop)
	<-done
}
