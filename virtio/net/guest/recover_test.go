package guest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A burst to a guest that breaks off in its middle (the memory of a frame
// vanished) leaves the guest's ring such that no buffer is lost and no half
// frame is seen.
func TestRecoverTakesBackWhatWasBegun(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	buffers := map[uint16]receiveBuffer{}
	for range 8 {
		head := r.rx.Driver.NextHead()
		buffers[head] = r.offer(t, 500)
	}
	// The second frame takes two buffers, and half of it lies in memory that is gone.
	gone := vanished(t, 4096)
	whole := nettest.Frame(nettest.Payload(400, 1))
	bad := nettest.Frame(nettest.Payload(450, 2), gone[:450])
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	func() {
		defer func() {
			if err, ok := recover().(interface{ Addr() uintptr }); !ok || err.Addr()-vringtest.Address(gone) >= 450 {
				t.Errorf("the burst was not broken off in the memory that is gone: %v", err)
			}
		}()
		r.txFrames([]virtionet.Frame{whole, bad, whole})
	}()
	r.Recover()
	if err := r.rx.Device.Err(); err != nil {
		t.Fatalf("an innocent ring has failed: %v", err)
	}
	sent := []virtionet.Frame{nettest.Frame(nettest.Payload(300, 3)), nettest.Frame(nettest.Payload(900, 4)), nettest.Frame(nettest.Payload(200, 5))}
	if n := r.txFrames(sent); n != 3 {
		t.Fatalf("%d of 3 frames sent after recovery", n)
	}
	data, lens := r.received(buffers)
	if len(lens) != 5 { // one before, 1 + 2 + 1 after
		t.Fatalf("used lengths %v", lens)
	}
	for i, want := range [][]byte{nettest.Payload(400, 1), nettest.Payload(300, 3)} {
		if !bytes.Equal(data[i][12:], want) {
			t.Errorf("frame %d differs", i)
		}
	}
	if got := append(append([]byte{}, data[2][12:]...), data[3]...); !bytes.Equal(got, nettest.Payload(900, 4)) {
		t.Error("the frame over two buffers differs")
	}
	if r.rx.Driver.Free() != 5 || r.rx.Device.Available() != 3 {
		t.Errorf("%d descriptors free, %d buffers left; want 5 and 3", r.rx.Driver.Free(), r.rx.Device.Available())
	}
}

// vanished maps n bytes of a file and truncates it: access raises SIGBUS.
func vanished(t *testing.T, n int) []byte {
	t.Helper()
	b, vanish := vanishing(t, n)
	vanish()
	return b
}

// vanishing maps n bytes of a file, and vanish truncates it.
func vanishing(t *testing.T, n int) (b []byte, vanish func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "ram"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(int64(n)); err != nil {
		t.Fatal(err)
	}
	b, err = unix.Mmap(int(file.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return b, func() {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
	}
}

// Frames held by a port whose partner broke are dropped, and given back.
func TestRecoverGivesHeldFramesBack(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	for i := range 3 {
		r.send(t, nettest.Payload(100, i))
	}
	var frames [4]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 3 {
		t.Fatalf("%d frames", n)
	}
	r.release(1)
	r.Recover()
	if n := r.tx.Driver.Completed(); n != 3 || r.Counters().Drops[virtionet.DropStopped] != 2 {
		t.Errorf("%d completed, drops %v; want 3, two stopped", n, r.Counters().Drops)
	}
	if r.txBell != 1 {
		t.Errorf("the guest was interrupted %d times, want once", r.txBell)
	}
}

func TestOwns(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	_, b := r.rx.Alloc(100)
	if !r.Owns(vringtest.Address(b)) || !r.Owns(vringtest.Address(b)+99) {
		t.Error("the guest's memory is not its own")
	}
	private := make([]byte, 1)
	if r.Owns(vringtest.Address(private)) || r.Owns(0) {
		t.Error("our memory is said to be the guest's")
	}
	r.install(&Queues{HeaderLen: virtionet.HeaderLen})
	if r.Owns(vringtest.Address(b)) {
		t.Error("a guest without rings owns memory")
	}
}

// Each broken rule is counted under its name, once for each ring that breaks.
func TestFaultsAreCounted(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	r.tx.Raw.Offer(8) // outside the table
	var frames [4]virtionet.Frame
	for range 3 {
		r.rxFrames(frames[:])
	}
	if c := r.Counters(); c.Faults[vring.FaultHead] != 1 || c.MemoryFaults != 0 {
		t.Errorf("counted %v, %d", c.Faults, c.MemoryFaults)
	}
	r.Fail(errors.New("memory vanished"))
	if c := r.Counters(); c.Faults[vring.FaultHead] != 1 || c.MemoryFaults != 1 {
		t.Errorf("after a memory fault: counted %v, %d", c.Faults, c.MemoryFaults)
	}
}

// A guest that named its MTU gets no longer frames; one VLAN tag is on top.
func TestMTULimitsFramesToTheGuest(t *testing.T) {
	for _, pieces := range []int{1, 2} {
		q := running
		q.MTU = 1000
		r := newGuestRig(t, vringtest.Config{Size: 8}, q)
		for range 4 {
			r.offer(t, 2048)
		}
		cut := func(n int) virtionet.Frame {
			p := nettest.Payload(n, n)
			if pieces == 1 {
				return nettest.Frame(p)
			}
			return nettest.Frame(p[:n/2], p[n/2:])
		}
		n := r.txFrames([]virtionet.Frame{cut(1018), cut(1019), cut(60)})
		if c := r.Counters(); n != 3 || c.TxPackets != 2 || c.Drops[virtionet.DropTooLong] != 1 {
			t.Errorf("in %d pieces: %d done, counted %+v; want one too long", pieces, n, c)
		}
	}
}

// A ring whose memory vanishes before the forwarder takes it over (without
// EVENT_IDX taking over writes to it) does not leave control waiting for ever.
func TestMemoryVanishesBeforeSync(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	q := *r.cur
	q.ToGuest = vanishedRing(t)
	installed := make(chan struct{})
	go func() { r.Install(&q); close(installed) }()
	for !r.Changed() {
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	func() {
		defer func() {
			err, ok := recover().(interface {
				error
				Addr() uintptr
			})
			if !ok || !r.Owns(err.Addr()) {
				t.Fatalf("Sync broke off with %v, want a fault in the new ring", err)
			}
			r.Fail(err) // as a loop does
		}()
		r.Sync()
	}()
	if r.Changed() {
		r.Sync()
	}
	select {
	case <-installed:
	case <-time.After(5 * time.Second):
		t.Fatal("Install still waits after the forwarder went on")
	}
	if r.cur != &q || r.Changed() || r.Counters().MemoryFaults != 2 || len(r.failures) != 2 {
		t.Errorf("after the fault: changed %v, counted %d, failures %v", r.Changed(), r.Counters().MemoryFaults, r.failures)
	}
}

// vanishedRing is a ring of 8 entries in memory that has vanished.
func vanishedRing(t *testing.T) *vring.Device {
	t.Helper()
	const size, used = 8, 2048
	b, vanish := vanishing(t, 4096)
	table, err := mem.New([]mem.Region{{Mem: b}})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := vring.NewDevice(vring.DeviceConfig{Size: size, Mem: table, Avail: mem.GPA(vring.TableBytes(size)), Used: used})
	if err != nil {
		t.Fatal(err)
	}
	vanish()
	return ring
}

// All that a round published is told at once, and only if it was.
func TestNotifyOncePerRound(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 16}, running)
	var frames [4]virtionet.Frame
	for i := range 5 {
		r.send(t, nettest.Payload(60, i))
		r.offer(t, 200)
		r.release(r.rxFrames(frames[:]))
		r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(60, i))})
	}
	if r.txBell != 0 || r.rxBell != 0 {
		t.Errorf("interrupted before Notify: %d, %d", r.txBell, r.rxBell)
	}
	for range 3 {
		r.Notify()
	}
	if r.txBell != 1 || r.rxBell != 1 {
		t.Errorf("interrupted %d and %d times, want once each", r.txBell, r.rxBell)
	}
}

// Whoever forwards for a guest that was left before, as when one of two loops cannot
// start and its queue pairs go back and forth, neither waits for control nor uses queues
// for which control did not wait.
func TestNothingIsTakenOverAfterLeave(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	q := *r.cur
	r.Leave()
	r.Install(&q)
	done := make(chan struct{})
	go func() { r.Sync(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Sync waits for control")
	}
	if r.cur != stopped || r.Changed() {
		t.Errorf("changed %v, rings %v", r.Changed(), r.cur)
	}
}
