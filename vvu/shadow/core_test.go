package shadow_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/nic/nictest"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/driver"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
	"vvufwd/vvu/shadow"
)

const coreEntries, coreBuffer = 256, 2048

// coreGuest is a guest with a ring each way.
type coreGuest struct {
	port   *guest.Port
	rx, tx *vring.Driver
	at     uint64 // of the transmit ring's buffers
	parts  []vring.Part
}

func newCoreGuest(b *testing.B, packed bool, size int) *coreGuest {
	const ring, buffers = 64 << 10, coreEntries * coreBuffer
	const base = 1 << 32
	m, err := unix.Mmap(-1, 0, 2*(ring+buffers), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	must(b, err)
	b.Cleanup(func() { unix.Munmap(m) })
	table, err := mem.New([]mem.Region{{GPA: base, Mem: m}})
	must(b, err)
	g := &coreGuest{port: guest.New("guest", func(ring string, err error) { b.Errorf("%s ring: %v", ring, err) })}
	var sides [2]*vring.Device
	for k, q := range []**vring.Driver{&g.rx, &g.tx} {
		at := k * (ring + buffers)
		*q, err = vring.NewDriver(vring.DriverConfig{Size: coreEntries, Memory: m[at : at+ring], Base: base + uint64(at), Packed: packed})
		must(b, err)
		desc, avail, used := (*q).Addresses()
		cfg := vring.DeviceConfig{Size: coreEntries, Mem: table, Packed: packed, ReadOnly: k == 1, Desc: mem.GPA(desc), Avail: mem.GPA(avail), Used: mem.GPA(used)}
		if packed {
			cfg.NextAvail = vring.FirstSlot
		}
		sides[k], err = vring.NewDevice(cfg)
		must(b, err)
	}
	for i := range coreEntries {
		_, err := g.rx.Add(nil, []vring.Part{{Addr: base + ring + uint64(i*coreBuffer), Len: coreBuffer}})
		must(b, err)
	}
	g.rx.Publish()
	g.at = base + 2*ring + buffers
	for range nictest.Burst {
		g.parts = append(g.parts, vring.Part{Len: uint32(virtionet.HeaderLen + size)})
	}
	installed := make(chan struct{})
	go func() {
		defer close(installed)
		g.port.Install(&guest.Queues{
			ToGuest: sides[0], FromGuest: sides[1], ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen, Mergeable: true,
		})
	}()
	for waiting := true; waiting; {
		select {
		case <-installed:
			waiting = false
		default:
			if g.port.Changed() {
				g.port.Sync()
			}
			g.port.Notify()
		}
	}
	return g
}

// send offers n frames.
func (g *coreGuest) send(n int) {
	var heads [nictest.Burst]uint16
	g.tx.Completed()
	g.tx.TakeAll()
	g.tx.NextHeads(heads[:n])
	for i := range n {
		g.parts[i].Addr = g.at + uint64(heads[i])*coreBuffer
	}
	g.tx.AddReads(g.parts[:n])
	g.tx.Publish()
}

// take takes what has come and offers the buffers again.
func (g *coreGuest) take(b *testing.B, n int) {
	if got := g.rx.Completed(); got != n || g.rx.Renew(got) != got {
		b.Fatalf("%d frames came, want %d: %v", got, n, g.rx.Err())
	}
	g.rx.Publish()
}

// coreShadow is the shadow's side of a queue pair, with a device that the test plays.
type coreShadow struct {
	port         *driver.Port
	toUs, fromUs *vring.Device
	length       int // of a frame with its header
}

func newCoreShadow(b *testing.B, packed bool, size int) *coreShadow {
	m, err := shadow.NewMemory(shadow.Need(1))
	must(b, err)
	b.Cleanup(func() { m.Close() })
	features := virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx
	if packed {
		features |= virtio.RingPacked
	}
	s := &coreShadow{length: virtionet.HeaderLen + size}
	alloc := &recorded{Memory: m}
	s.port, err = driver.New(driver.Config{Name: "shadow", Features: features, RxSize: coreEntries, TxSize: coreEntries, Jumbo: true,
		OnFail: func(ring string, err error) { b.Errorf("%s ring: %v", ring, err) }}, alloc)
	must(b, err)
	table, err := mem.New(alloc.regions)
	must(b, err)
	rx, tx := s.port.Rings()
	for q, side := range map[*vring.Driver]**vring.Device{rx: &s.toUs, tx: &s.fromUs} {
		desc, avail, used := q.Addresses()
		cfg := vring.DeviceConfig{Size: coreEntries, Mem: table, Packed: packed, EventIdx: true, Desc: mem.GPA(desc), Avail: mem.GPA(avail), Used: mem.GPA(used)}
		if packed {
			cfg.NextAvail = vring.FirstSlot
		}
		*side, err = vring.NewDevice(cfg)
		must(b, err)
	}
	s.port.Start(silent{}, silent{})
	return s
}

// silent is a bell that no one hears.
type silent struct{}

func (silent) Notify() {}

// recorded remembers what was handed out.
type recorded struct {
	*shadow.Memory
	regions []mem.Region
}

func (r *recorded) Alloc(size, align int) (driver.Memory, error) {
	m, err := r.Memory.Alloc(size, align)
	if err == nil {
		r.regions = append(r.regions, mem.Region{GPA: mem.GPA(m.Addr), Mem: m.Bytes})
	}
	return m, err
}

// arrive has the driver VM send n frames.
func (s *coreShadow) arrive(b *testing.B, n int) {
	vringtest.Fill(b, s.toUs, n, func(buffer []byte) int {
		buffer[10] = 1 // num_buffers
		return s.length
	})
}

// sent has it take n.
func (s *coreShadow) sent(b *testing.B, n int) { vringtest.Drain(b, s.fromUs, n) }

// BenchmarkShadowCore is what a frame costs on vvudev's core with a shadow region, each way; and beside it
// what one costs that goes from guest to guest. Without a shadow vvudev has nothing to do with frames, so this comes
// on top of what they cost vvufwd.
func BenchmarkShadowCore(b *testing.B) {
	for _, packed := range []bool{false, true} {
		ring := map[bool]string{false: "split", true: "packed"}[packed]
		for name, rig := range map[string]func(b *testing.B, size int) *nictest.Rig{
			"from the app VM": func(b *testing.B, size int) *nictest.Rig {
				g, s := newCoreGuest(b, false, size), newCoreShadow(b, packed, size)
				return &nictest.Rig{From: g.port, To: s.port, Arrive: g.send, Sent: func(n int) { s.sent(b, n) }}
			},
			"to the app VM": func(b *testing.B, size int) *nictest.Rig {
				g, s := newCoreGuest(b, false, size), newCoreShadow(b, packed, size)
				return &nictest.Rig{From: s.port, To: g.port, Arrive: func(n int) { s.arrive(b, n) }, Sent: func(n int) { g.take(b, n) }}
			},
			"guest to guest": func(b *testing.B, size int) *nictest.Rig {
				from, to := newCoreGuest(b, packed, size), newCoreGuest(b, packed, size)
				return &nictest.Rig{From: from.port, To: to.port, Arrive: from.send, Sent: func(n int) { to.take(b, n) }}
			},
		} {
			b.Run(fmt.Sprintf("%s/%s", ring, name), func(b *testing.B) { nictest.Measure(b, rig) })
		}
	}
}
