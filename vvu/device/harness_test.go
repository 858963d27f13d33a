package device

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
	"vvufwd/vvu/vhostuser"
)

// rig is a device with both of its sockets.
type rig struct {
	t       testing.TB
	dev     *Device
	ram     *RAMFile
	monitor string // vfio-user socket
	app     string // vhost-user socket
}

const (
	appRAM    = 8 << 20
	testRings = 8
)

func newRig(t testing.TB) *rig {
	t.Helper()
	log := zap.NewNop()
	if _, fuzz := t.(*testing.F); !fuzz {
		log = zaptest.NewLogger(t)
	}
	dir := t.TempDir()
	r := &rig{t: t, monitor: filepath.Join(dir, "m"), app: filepath.Join(dir, "a")}
	var err error
	if r.ram, err = CreateRAM(filepath.Join(dir, "ram"), appRAM); err != nil {
		t.Fatal(err)
	}
	r.dev, err = New(Config{RAM: r.ram, Queues: testRings, UUID: [16]byte{1, 2, 15: 16}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	monitor, app := listenAt(t, r.monitor), listenAt(t, r.app)
	go func() { done <- vfiouser.NewServer(r.dev, log).Serve(ctx, monitor) }()
	go func() { done <- r.dev.ServeFrontends(ctx, app) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("server ended with %v", err)
			}
		}
		r.dev.Close()
		r.ram.Close()
	})
	return r
}

func listenAt(t testing.TB, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for cond, which another goroutine makes true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 5 s", what)
		}
	}
}

func eventfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// signal adds one to an eventfd.
func signal(fd int) { unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// wait waits for an eventfd and takes its signal away.
func wait(t testing.TB, what string, fd int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(5 * time.Second); ; {
		n, err := unix.Poll(p, int(time.Until(deadline)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			t.Fatalf("%s was not signalled within 5 s (%v)", what, err)
		}
		break
	}
	take(fd)
}

// take reports whether an eventfd was signalled since the last look.
func take(fd int) bool {
	var b [8]byte
	n, _ := unix.Read(fd, b[:])
	return n == 8
}

// Driver VM memory: IOVA of the queues, and where buffers lie.
const (
	iovaBase   = 0x1_0000_0000
	driverRAM  = 1 << 20
	queueBytes = 0x10000
	bufferSize = 4096
	ringSize   = 16

	vectorConfig = 0
	vectorRx     = 1
	vectorTx     = 2
	vectorKick   = 3 // of ring 0
)

// driver plays the driver VM: its monitor, and the driver in it.
type driver struct {
	t      testing.TB
	c      *vfiousertest.Client
	ram    int
	mem    []byte
	irq    []int // eventfds by vector
	rx, tx *vring.Driver
	event  bool // EVENT_IDX and INDIRECT_DESC
}

// plug connects a monitor with memory and eventfds, but no driver yet.
func (r *rig) plug() *driver {
	r.t.Helper()
	c, err := vfiousertest.Dial(r.monitor)
	must(r.t, err)
	d := &driver{t: r.t, c: c}
	d.ram, err = unix.MemfdCreate("driver", unix.MFD_CLOEXEC)
	must(r.t, err)
	must(r.t, unix.Ftruncate(d.ram, driverRAM))
	d.mem, err = unix.Mmap(d.ram, 0, driverRAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(r.t, err)
	must(r.t, c.MapDMA(iovaBase, driverRAM, d.ram, 0))
	must(r.t, c.Reset())
	for range testRings + 3 {
		d.irq = append(d.irq, eventfd(r.t))
	}
	must(r.t, c.SetIRQs(vfiousertest.IRQEventFD, 0, len(d.irq), d.irq...))
	r.t.Cleanup(d.unplug)
	return d
}

// unplug is the end of the monitor.
func (d *driver) unplug() {
	if d.mem == nil {
		return
	}
	d.c.Close()
	unix.Munmap(d.mem)
	unix.Close(d.ram)
	d.mem = nil
}

// read and write access registers of 1 to 8 bytes.
func (d *driver) read(bar int, offset uint64, n int) uint64 {
	d.t.Helper()
	var b [8]byte
	must(d.t, d.c.Read(bar, offset, b[:n]))
	return binary.LittleEndian.Uint64(b[:])
}

func (d *driver) write(bar int, offset uint64, n int, v uint64) {
	d.t.Helper()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	must(d.t, d.c.Write(bar, offset, b[:n]))
}

// common accesses a common configuration register.
func (d *driver) common(at int, n int, v uint64) { d.write(barVirtio, uint64(at), n, v) }

func (d *driver) virtioStatus() uint8 { return uint8(d.read(barVirtio, commonStatus, 1)) }

// negotiate does everything up to FEATURES_OK and reports whether it held.
func (d *driver) negotiate(f virtio.Features) bool {
	d.common(commonStatus, 1, 0)
	d.common(commonStatus, 1, uint64(virtio.StatusAcknowledge))
	d.common(commonStatus, 1, uint64(virtio.StatusAcknowledge|virtio.StatusDriver))
	for half := range 2 {
		d.common(commonDriverSelect, 4, uint64(half))
		d.common(commonDriver, 4, uint64(f>>(32*half))&0xffffffff)
	}
	const ok = virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK
	d.common(commonStatus, 1, uint64(ok))
	return d.virtioStatus() == ok
}

// bringUp takes the device to DRIVER_OK with rx buffers posted.
func (d *driver) bringUp(f virtio.Features) {
	d.t.Helper()
	f |= virtio.Version1 | virtio.AccessPlatform
	if !d.negotiate(f) {
		d.t.Fatalf("features %v are refused", f)
	}
	d.event = f.Has(virtio.EventIdx)
	for ring := range testRings {
		d.write(barResources, notificationOffset+regSelect, 2, uint64(ring))
		d.write(barResources, notificationOffset+regVector, 2, uint64(vectorKick+ring))
		if v := d.read(barResources, notificationOffset+regVector, 2); v != uint64(vectorKick+ring) {
			d.t.Fatalf("vector of ring %d reads back %d", ring, v)
		}
	}
	clear(d.mem[:2*queueBytes])
	for q, ring := range []**vring.Driver{&d.rx, &d.tx} {
		cfg := vring.DriverConfig{Size: ringSize, Memory: d.mem[q*queueBytes : (q+1)*queueBytes], Base: uint64(iovaBase + q*queueBytes), EventIdx: d.event}
		var err error
		*ring, err = vring.NewDriver(cfg)
		must(d.t, err)
		desc, avail, used := (*ring).Addresses()
		d.common(commonQueueSelect, 2, uint64(q))
		if n := d.read(barVirtio, commonQueueSize, 2); n != queueSize {
			d.t.Fatalf("queue %d has %d entries", q, n)
		}
		d.common(commonQueueSize, 2, ringSize)
		d.common(commonQueueVector, 2, uint64(vectorRx+q))
		for i, addr := range []uint64{desc, avail, used} {
			d.common(commonQueueDesc+8*i, 4, addr&0xffffffff)
			d.common(commonQueueDesc+8*i+4, 4, addr>>32)
		}
		d.common(commonQueueEnable, 2, 1)
	}
	d.common(commonConfigVector, 2, vectorConfig)
	d.common(commonStatus, 1, uint64(d.virtioStatus()|virtio.StatusDriverOK))
	d.post(ringSize, bufferSize)
}

// bufferOf is the buffer of a descriptor of a queue.
func bufferOf(queue int, head uint16) uint64 {
	return uint64(2*queueBytes + (queue*ringSize+int(head))*bufferSize)
}

// post offers n rx buffers of some size and notifies.
func (d *driver) post(n int, size uint32) {
	d.t.Helper()
	for range n {
		at := bufferOf(rxq, d.rx.NextHead())
		_, err := d.rx.Add(nil, []vring.Part{{Addr: iovaBase + at, Len: size}})
		must(d.t, err)
	}
	d.rx.Publish()
	if d.rx.NeedKick() {
		d.notify(rxq)
	}
}

func (d *driver) notify(queue int) {
	d.t.Helper()
	d.write(barVirtio, uint64(notifyOffset+queue*notifyStride), 2, uint64(queue))
}

// receive waits for a message and posts its buffer again.
func (d *driver) receive() vhostuser.Message {
	d.t.Helper()
	m, ok := d.tryReceive()
	for !ok {
		d.rx.EnableInterrupts()
		if m, ok = d.tryReceive(); ok {
			break
		}
		wait(d.t, "vector of rxq", d.irq[vectorRx])
		m, ok = d.tryReceive()
	}
	return m
}

func (d *driver) tryReceive() (vhostuser.Message, bool) {
	d.t.Helper()
	d.rx.Completed()
	var u vring.Used
	if !d.rx.Take(&u) {
		must(d.t, d.rx.Err())
		return vhostuser.Message{}, false
	}
	at := bufferOf(rxq, u.Head)
	m, err := vhostuser.Parse(append([]byte(nil), d.mem[at:at+uint64(u.Len)]...))
	must(d.t, err)
	d.post(1, bufferSize)
	return m, true
}

// send queues raw bytes in txq, in two parts, and notifies.
func (d *driver) send(raw []byte) {
	d.t.Helper()
	at := bufferOf(txq, d.tx.NextHead())
	copy(d.mem[at:], raw)
	half := uint64(len(raw) / 2)
	_, err := d.tx.Add([]vring.Part{{Addr: iovaBase + at, Len: uint32(half)}, {Addr: iovaBase + at + half, Len: uint32(len(raw)) - uint32(half)}}, nil)
	must(d.t, err)
	d.tx.Publish()
	if d.tx.NeedKick() {
		d.notify(txq)
	}
}

func (d *driver) reply(m vhostuser.Message) {
	d.t.Helper()
	d.drained()
	d.send(m.Append(nil))
}

// drained waits until the device has consumed txq.
func (d *driver) drained() {
	d.t.Helper()
	var u vring.Used
	eventually(d.t, "consumption of txq", func() bool {
		d.tx.Completed()
		for d.tx.Take(&u) {
		}
		must(d.t, d.tx.Err())
		return d.tx.Outstanding() == 0
	})
}

func (d *driver) connection() uint32 { return uint32(d.read(barVirtio, configOffset, 4)) }

func (d *driver) setUp(up uint64) { d.write(barVirtio, configOffset, 4, up) }

// waitStatus waits for a config interrupt that brings the status.
func (d *driver) waitStatus(want uint32) {
	d.t.Helper()
	wait(d.t, "config vector", d.irq[vectorConfig])
	if got := d.connection(); got != want {
		d.t.Fatalf("status is %d after a config interrupt, want %d", got, want)
	}
}

// dialApp connects a front-end.
func (r *rig) dialApp() *vhostuser.Conn {
	r.t.Helper()
	c, err := vhostuser.Dial(r.app)
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c
}

// closed waits for the device to close a front-end's socket.
func closed(t testing.TB, c *vhostuser.Conn) {
	t.Helper()
	if m, err := c.ReadMessage(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("front-end's socket is not closed: %v %v", m, err)
	}
}

// rawApp connects a front-end that can send anything.
func rawApp(t testing.TB, r *rig) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: r.app, Net: "unix"})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
