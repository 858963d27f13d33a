package device

import (
	"encoding/binary"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vhostuser"
)

// fakeHost is guest memory without a monitor.
type fakeHost struct{ table *mem.Table }

func (h *fakeHost) Memory() *mem.Table { return h.table }
func (h *fakeHost) Signal(int)         {}
func (h *fakeHost) Pending(int) bool   { return false }

// FuzzRegisters makes random accesses, with queues in memory that holds random
// bytes as well. Whatever a driver does, the device lives, and a reset helps.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{barVirtio, 20, 0, 1, 1}, []byte{})
	start := []byte{}
	add := func(bar byte, at uint16, p ...byte) {
		start = append(append(start, bar, byte(at), byte(at>>8), byte(len(p))), p...)
	}
	add(barVirtio, commonStatus, 3)
	add(barVirtio, commonDriverSelect, 1, 0, 0, 0)
	add(barVirtio, commonDriver, 3, 0, 0, 0)
	add(barVirtio, commonStatus, 11)
	for q := range byte(2) {
		add(barVirtio, commonQueueSelect, q, 0)
		add(barVirtio, commonQueueSize, 4, 0)
		add(barVirtio, commonQueueDesc, 0, q, 0, 0)
		add(barVirtio, commonQueueAvail, 0x80, q, 0, 0)
		add(barVirtio, commonQueueUsed, 0xc0, q, 0, 0)
		add(barVirtio, commonQueueEnable, 1, 0)
	}
	add(barVirtio, commonStatus, 15)
	add(barVirtio, notifyOffset, 0, 0)
	add(barVirtio, notifyOffset+4, 1, 0)
	f.Add(start, []byte{0x180: 0, 0x182: 1, 0x100: 0, 0x108: 20})
	add(barVirtio, configOffset, 1, 0, 0, 0)
	add(barResources, notificationOffset, 1, 0, 2, 0)
	add(barResources, 4, 1, 0)
	f.Add(start, make([]byte, 1024))

	ram := testRAM(f, appRAM)
	f.Fuzz(func(t *testing.T, accesses, memory []byte) {
		d, err := New(Config{RAM: ram, Queues: testRings, Log: nopLog})
		must(t, err)
		defer d.Close()
		backing := make([]uint64, 8192/8) // aligned
		b := bytesOf(backing)
		copy(b, memory)
		table, err := mem.New([]mem.Region{{GPA: 0, Mem: b}})
		must(t, err)
		d.Attach(&fakeHost{table})
		for len(accesses) >= 4 {
			bar, at, n := int(accesses[0]), uint64(binary.LittleEndian.Uint16(accesses[1:])), int(accesses[3])
			accesses = accesses[4:]
			if n > len(accesses) {
				n = len(accesses)
			}
			size := d.Region(bar).Size
			if bar > vfiouser.RegionVGA || n == 0 || at+uint64(n) > size {
				continue
			}
			d.Write(bar, at, accesses[:n])
			d.Read(bar, at, make([]byte, n))
			accesses = accesses[n:]
		}
		d.MemoryChanged()
		d.Reset()
		var status [1]byte
		d.Read(barVirtio, commonStatus, status[:])
		if status[0] != 0 {
			t.Fatalf("device status %#x after a reset", status[0])
		}
		d.Detach()
	})
}

// FuzzFrontend feeds the vhost-user socket with an arbitrary stream. What reaches
// the driver are well-formed messages, and the next front-end is served.
func FuzzFrontend(f *testing.F) {
	one := func(m vhostuser.Message) []byte { return m.Append(nil) }
	f.Add(one(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
	f.Add(one(vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: 4096}})))
	f.Add(one(vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1, NoFD: true})))
	f.Add(append(one(vhostuser.NewRequest(vhostuser.SetOwner, nil)), one(vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Num: 256}))...))
	f.Add(one(vhostuser.NewRequest(vhostuser.SetProtocolFeatures, vhostuser.U64(9)))[:15])
	r := newRig(f)
	d := r.plug()
	d.bringUp(0)
	d.setUp(1)
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 1<<15 {
			return
		}
		d.t, r.t = t, t
		c := rawApp(t, r)
		go func() {
			c.Write(stream) // fails when the session ends early
			c.CloseWrite()
		}()
		ended := make(chan struct{})
		go func() {
			io.Copy(io.Discard, c)
			close(ended)
		}()
		for d.connection() != statusNone {
			m, ok := d.tryReceive()
			if !ok {
				unix.Poll([]unix.PollFd{{Fd: int32(d.irq[vectorRx]), Events: unix.POLLIN}, {Fd: int32(d.irq[vectorConfig]), Events: unix.POLLIN}}, 100)
				take(d.irq[vectorRx])
				take(d.irq[vectorConfig])
				continue
			}
			if m.Flags&(vhostuser.VersionMask|vhostuser.FlagReply) != vhostuser.Version || !passes(m.Request) {
				t.Fatalf("driver got %v with flags %#x", m, m.Flags)
			}
		}
		<-ended
		for ok := true; ok; _, ok = d.tryReceive() {
		}
		take(d.irq[vectorConfig])
		d.setUp(1)
	})
}
