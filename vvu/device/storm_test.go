package device

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/vvu/vhostuser"
)

// A driver that is not our friend does not make the device do more and more in a given time.

// counted is guest memory that counts how often it is looked at for a queue.
type counted struct {
	fakeHost
	looks atomic.Int64
}

func (h *counted) Memory() *mem.Table {
	h.looks.Add(1)
	return h.table
}

// poke writes a register, of n bytes.
func poke(d *Device, at, n int, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	d.Write(barVirtio, uint64(at), b[:n])
}

// newBare makes a device without a monitor, whose queues lie at these addresses.
func newBare(t *testing.T, desc, avail, used uint64) (*Device, []byte, *counted) {
	t.Helper()
	d, err := New(Config{RAM: testRAM(t, appRAM), Queues: testRings, Log: nopLog})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	b := bytesOf(make([]uint64, 8192/8)) // aligned
	table, err := mem.New([]mem.Region{{GPA: 0, Mem: b}})
	must(t, err)
	host := &counted{fakeHost: fakeHost{table}}
	d.Attach(host)
	poke(d, commonDriverSelect, 4, 1)
	poke(d, commonDriver, 4, uint64((virtio.Version1|virtio.AccessPlatform)>>32))
	poke(d, commonStatus, 1, uint64(virtio.StatusAcknowledge|virtio.StatusDriver|virtio.StatusFeaturesOK))
	for q := range 2 {
		poke(d, commonQueueSelect, 2, uint64(q))
		poke(d, commonQueueSize, 2, ringSize)
		poke(d, commonQueueDesc, 8, desc)
		poke(d, commonQueueAvail, 8, avail)
		poke(d, commonQueueUsed, 8, used)
		poke(d, commonQueueEnable, 2, 1)
	}
	poke(d, commonStatus, 1, uint64(virtio.StatusAcknowledge|virtio.StatusDriver|virtio.StatusFeaturesOK|virtio.StatusDriverOK))
	return d, b, host
}

// Messages without end are dropped by one, however often the driver rings the doorbell.
func TestDoorbellsOfAnEndlessQueue(t *testing.T) {
	const avail, buffer = 0x1000, 0x1800
	d, b, _ := newBare(t, 0, avail, avail) // each completion makes one available
	wire := vhostuser.Ack(vhostuser.SetOwner, 0).Append(nil)
	copy(b[buffer:], wire)
	binary.LittleEndian.PutUint64(b, buffer)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(wire)))
	binary.LittleEndian.PutUint16(b[avail+2:], 1)
	busy := func() int { // goroutines, with those that wait for the device
		d.mu.Lock()
		defer d.unlock()
		time.Sleep(20 * dropPause)
		return runtime.NumGoroutine()
	}
	before := busy()
	for range 200 {
		poke(d, notifyOffset+txq*notifyStride, 2, txq)
	}
	if d.queues[txq].ring == nil {
		t.Fatal("the queue is not used")
	}
	if n := busy() - before; n > 20 {
		t.Errorf("%d goroutines drop messages", n)
	}
	d.Reset()
}

// A queue that lies in unmapped memory is looked for once in a while, however many wait for it.
func TestQueuesInUnmappedMemory(t *testing.T) {
	const nowhere = 1 << 30
	d, _, host := newBare(t, nowhere, nowhere+0x1000, nowhere+0x2000)
	poke(d, configOffset, 4, uint64(statusDriverUp))
	path := filepath.Join(t.TempDir(), "a")
	l := listenAt(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- d.ServeFrontends(ctx, l) }()
	c, err := vhostuser.Dial(path)
	must(t, err)
	defer c.Close()
	send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	eventually(t, "a look at the queues", func() bool { return host.looks.Load() > 0 })
	const rounds = 20
	time.Sleep(rounds * retryUnmapped)
	if n := host.looks.Load(); n > 10*rounds {
		t.Errorf("%d looks in some %d rounds", n, rounds)
	}
	cancel()
	must(t, <-served)
}
