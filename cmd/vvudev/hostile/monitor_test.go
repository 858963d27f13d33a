package hostile

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
	"vvufwd/vvu/vhostuser"
)

func (d *device) plug() *vfiousertest.Client {
	d.t.Helper()
	c, err := vfiousertest.Dial(d.monitor)
	must(d.t, err)
	c.Conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { c.Close() })
	return c
}

// served makes sure that the device serves the next driver VM, and its front-end.
func (d *device) served() {
	d.t.Helper()
	s := d.drive()
	s.exchange()
	s.stop()
}

// TestInterrupts: a monitor sabotages the eventfds of its vectors, while it triggers them.
func TestInterrupts(t *testing.T) {
	d := startDevice(t)
	c := d.plug()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 0, 4, fd, fd, fd, fd))
	var answers atomic.Int64
	stop := goRun(func(ctx context.Context) { sabotage(ctx, fd, answers.Load) })
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		c.Conn.SetDeadline(time.Now().Add(patience))
		const none, trigger = 1, 1 << 5
		if err := c.SetIRQs(none|trigger, 0, 4); err != nil {
			t.Fatalf("vvudev waits for the eventfd of a vector: %v", err)
		}
		answers.Add(1)
	}
	stop()
	c.Close()
	d.served()
}

// TestMonitorsDescriptors: what is no eventfd is not taken for one, and what is no memory not
// for memory.
func TestMonitorsDescriptors(t *testing.T) {
	d := startDevice(t)
	c := d.plug()
	for name, fd := range all(t) {
		if name == "semaphore" {
			continue // is an eventfd
		}
		if err := c.SetIRQs(vfiousertest.IRQEventFD, 0, 1, fd); err == nil {
			t.Errorf("%s is taken for an eventfd", name)
		}
		if err := c.MapDMA(1<<32, 1<<20, fd, 0); err == nil && name != "/proc/self/exe" {
			t.Errorf("%s is taken for memory", name)
		}
		c.UnmapDMA(1<<32, 1<<20)
		must(t, c.Reset())
	}
	c.Close()
	d.served()
}

// TestVanishedMemory: queues lie in memory whose file is cut.
func TestVanishedMemory(t *testing.T) {
	d := startDevice(t)
	for range 5 {
		c := d.plug()
		fd, err := unix.MemfdCreate("driver", unix.MFD_CLOEXEC)
		must(t, err)
		must(t, unix.Ftruncate(fd, 1<<20))
		must(t, c.MapDMA(1<<32, 1<<20, fd, 0))
		must(t, unix.Ftruncate(fd, 0))
		unix.Close(fd)
		store := func(offset uint64, v uint32) {
			t.Helper()
			must(t, c.Write(0, offset, binary.LittleEndian.AppendUint32(nil, v)))
		}
		store(8, 0)
		for half, features := range []uint32{0, 1<<0 | 1<<1} { // VERSION_1, ACCESS_PLATFORM
			store(8, uint32(half))
			store(12, features)
		}
		must(t, c.Write(0, 20, []byte{1 | 2 | 8}))
		for q := range uint16(2) {
			must(t, c.Write(0, 22, binary.LittleEndian.AppendUint16(nil, q)))
			for i := range uint64(3) {
				store(32+8*i, uint32(4096*i)) // below 4 GiB of 1<<32
				store(36+8*i, 1)
			}
			must(t, c.Write(0, 28, []byte{1, 0}))
		}
		must(t, c.Write(0, 20, []byte{1 | 2 | 8 | 4}))
		store(0x2000, 1) // the driver is up
		for q := range uint64(2) {
			must(t, c.Write(0, 0x3000+4*q, []byte{0, 0}))
		}
		var status [1]byte
		must(t, c.Read(0, 20, status[:]))
		if status[0]&0x40 == 0 {
			t.Errorf("status %#x: the device has not noticed", status[0])
		}
		must(t, c.Reset())
		c.Close()
	}
	d.served()
}

// TestMonitorsGarbage: streams that are no messages, that stop, and floods.
func TestMonitorsGarbage(t *testing.T) {
	d := startDevice(t)
	app, err := vhostuser.Dial(d.app) // waits meanwhile
	must(t, err)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		c := d.plug()
		b := make([]byte, 16+random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if i%2 == 0 { // a header that is right
			le := binary.LittleEndian
			le.PutUint16(b[2:], uint16(random.IntN(20)))
			le.PutUint32(b[4:], uint32(len(b)))
			le.PutUint32(b[8:], 0)
		}
		c.Conn.Write(b)
		c.Close()
	}
	half, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.monitor, Net: "unix"})
	must(t, err)
	half.Write(make([]byte, 7))
	half.Close()
	flood := d.plug()
	flood.Conn.SetDeadline(time.Now().Add(time.Second))
	for range 5000 {
		if flood.Send(vfiouser.CmdGetInfo, 0, make([]byte, 16)) != nil {
			break // vvudev waits for us to read
		}
	}
	flood.Close()
	app.Close()
	d.served()
}

// TestBusyMonitor: a second driver VM is told, too.
func TestBusyMonitor(t *testing.T) {
	t.Parallel() // it only waits
	d := startDevice(t)
	c := d.plug()
	second, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.monitor, Net: "unix"})
	must(t, err)
	defer second.Close()
	second.SetDeadline(time.Now().Add(patience))
	if _, err := second.Read(make([]byte, 1)); err == nil || !vhostuser.PeerClosed(err) {
		t.Errorf("the second monitor hears %v", err)
	}
	must(t, c.Reset())
	c.Close()
	d.served()
	d.logs("another driver VM's monitor is waiting", "refused a driver VM's monitor")
}
