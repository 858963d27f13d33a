package device

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// backend is a driver with the protocol of a back-end, without a data path. It
// runs on a goroutine of its own until the test ends, and the driver is its then.
type backend struct {
	*driver
	mu   sync.Mutex // guards b
	b    *vhostuser.Backend
	stop int
	gone chan struct{} // a front-end has left
	err  chan error
}

func startBackend(d *driver) *backend {
	b := &backend{driver: d, stop: eventfd(d.t), gone: make(chan struct{}, 64), err: make(chan error, 1)}
	b.b = vhostuser.NewBackend(vhostuser.BackendConfig{
		Features: virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx, Protocol: vhostuser.SupportedProtocol, Rings: testRings,
	})
	d.setUp(1)
	go func() { b.err <- b.run() }()
	d.t.Cleanup(func() {
		signal(b.stop)
		if err := <-b.err; err != nil {
			d.t.Error(err)
		}
	})
	return b
}

func (b *backend) run() error {
	fds := []unix.PollFd{
		{Fd: int32(b.stop), Events: unix.POLLIN},
		{Fd: int32(b.irq[vectorConfig]), Events: unix.POLLIN},
		{Fd: int32(b.irq[vectorRx]), Events: unix.POLLIN},
	}
	for {
		for {
			m, ok := b.tryReceive()
			if !ok {
				break
			}
			reply, err := b.handle(m)
			if err != nil {
				return fmt.Errorf("%v: %w", m, err)
			}
			if reply != nil {
				b.reply(*reply)
			}
		}
		status := b.connection()
		if status == statusNone { // the front-end is gone
			b.mu.Lock()
			b.b.Reset()
			b.mu.Unlock()
			b.setUp(1)
			b.gone <- struct{}{}
			continue
		}
		if b.rx.EnableInterrupts() {
			continue
		}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return err
		}
		if take(b.stop) {
			return nil
		}
		take(b.irq[vectorConfig])
		take(b.irq[vectorRx])
	}
}

// handle answers one message. A ring that is stopped has moved on by 1000.
func (b *backend) handle(m vhostuser.Message) (*vhostuser.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reply, effects, err := b.b.Handle(m)
	for _, e := range effects {
		if e.Kind == vhostuser.EffectStop {
			m := b.b.Stopped(e.Index, b.b.Ring(e.Index).Base+1000)
			reply = &m
		}
	}
	return reply, err
}

func (b *backend) state() (regions []vhostuser.MemoryRegion, rings [testRings]vhostuser.RingState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range rings {
		rings[i] = b.b.Ring(i)
	}
	return b.b.Regions(), rings
}

// TestFrontends lets the front-ends whose ways are known connect, start, stop,
// restart and reconnect through the device, with two queue pairs.
func TestFrontends(t *testing.T) {
	for _, style := range vhostuser.Styles() {
		t.Run(style.Name, func(t *testing.T) {
			r := newRig(t)
			d := r.plug()
			d.bringUp(virtio.EventIdx)
			bar := d.mapShared()
			b := startBackend(d)
			fd := int(r.ram.file.Fd())
			cfg := vhostuser.FrontendConfig{
				Style: style, Features: virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx,
				// As QEMU's q35: below the hole, above it, and not in order of the file.
				Regions: []vhostuser.MemoryRegion{
					{GPA: 0x100000, Size: 3 << 20, UVA: 0x7f0000100000, Offset: 0x100000},
					{GPA: 0, Size: 0xa0000, UVA: 0x7f0000000000},
					{GPA: 1 << 32, Size: 4 << 20, UVA: 0x7f0000400000, Offset: 4 << 20},
				},
				Files: []int{fd, fd, fd},
			}
			for i := range uint64(4) {
				cfg.Rings = append(cfg.Rings, vhostuser.FrontendRing{
					Num: 256, Desc: 0x7f0000100000 + i<<16, Avail: 0x7f0000104000 + i<<16, Used: 0x7f0000108000 + i<<16,
					Kick: eventfd(t), Call: eventfd(t),
				})
			}
			conn := r.dialApp()
			f := vhostuser.NewFrontend(conn, cfg)
			must(t, f.Connect())
			for round := range 3 {
				must(t, f.Start())
				settle(t, conn)
				regions, rings := b.state()
				checkMemory(t, bar, r.ram, regions, cfg.Regions)
				for i, ring := range cfg.Rings {
					if !rings[i].Ready {
						t.Errorf("ring %d is not ready: %+v", i, rings[i])
					}
					signal(ring.Kick)
					wait(t, fmt.Sprintf("vector of ring %d", i), d.irq[vectorKick+i])
				}
				bases, err := f.Stop()
				must(t, err)
				if want := []uint32{1000, 1000, 1000, 1000}; !slices.Equal(bases, want) {
					t.Errorf("bases %v, want %v", bases, want)
				}
				if round == 1 { // restart of the app VM
					conn.Close()
					<-b.gone
					conn = r.dialApp()
					must(t, f.Reconnect(conn))
				}
			}
			if f.Protocol()&^carried != 0 {
				t.Errorf("protocol features %v", f.Protocol())
			}
		})
	}
}

// settle waits until the back-end has handled everything: a message that it
// answers has all others before it.
func settle(t testing.TB, c *vhostuser.Conn) {
	t.Helper()
	send(t, c, vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	_, err := c.ReadMessage()
	must(t, err)
}

// mapShared maps shared memory as the driver VM's monitor does.
func (d *driver) mapShared() []byte {
	d.t.Helper()
	info, err := d.c.RegionInfo(barMemory, 64)
	must(d.t, err)
	defer unix.Close(info.FDs[0])
	le := binary.LittleEndian
	shift, area, size := le.Uint64(info.Payload[24:]), le.Uint64(info.Payload[48:]), le.Uint64(info.Payload[56:])
	if area != 0 {
		d.t.Fatalf("the mapped area starts at %#x", area)
	}
	bar, err := unix.Mmap(info.FDs[0], int64(shift+area), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(d.t, err)
	d.t.Cleanup(func() { unix.Munmap(bar) })
	return bar
}

// checkMemory looks for each region at the place in shared memory that the
// contract's slot rule gives.
func checkMemory(t testing.TB, shared []byte, ram *RAMFile, got, want []vhostuser.MemoryRegion) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d regions, want %d", len(got), len(want))
	}
	slot := uint64(0)
	for n, r := range got {
		i := slices.IndexFunc(want, func(w vhostuser.MemoryRegion) bool { return w.GPA == r.GPA && w.UVA == r.UVA && w.Size == r.Size })
		if i < 0 {
			t.Fatalf("unknown region %v", r)
		}
		var stamp [8]byte
		binary.LittleEndian.PutUint64(stamp[:], uint64(time.Now().UnixNano())+uint64(n))
		_, err := ram.file.WriteAt(stamp[:], int64(want[i].Offset))
		must(t, err)
		if at := slot + r.Offset; !bytes.Equal(shared[at:at+8], stamp[:]) {
			t.Errorf("region at GPA %#x is not at %#x of shared memory", r.GPA, at)
		}
		slot += r.Offset + r.Size
	}
}
