package netfwd

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A frame fills several mergeable buffers of a guest, and the page of one of them is taken away
// before the copy: that guest's port fails alone, none of the burst is published there, and the
// sender gets its buffers back.
func TestVanishedReceiveBufferHitsOnlyItsOwner(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for gone := range 4 { // which of the buffers, of which the second frame fills three
			t.Run(fmt.Sprintf("packed=%v, buffer %d", packed, gone), func(t *testing.T) {
				t.Parallel()
				vanishReceiveBuffer(t, packed, gone)
			})
		}
	}
}

func vanishReceiveBuffer(t *testing.T, packed bool, gone int) {
	const buffers, size, page = 8, 500, 4096
	a, b := newVM(t, "a"), newVM(t, "b")
	ring := vringtest.Config{Size: 16, EventIdx: true, Packed: packed}
	a.tx, b.rx = vringtest.NewPair(t, ring), vringtest.NewPair(t, ring)

	// b's memory has one page more, in a file of its own.
	lost, vanish := vanishing(t, page)
	regions := slices.Clone(b.rx.Mem.Regions())
	last := regions[len(regions)-1]
	lostAt := last.GPA + mem.GPA(len(last.Mem)+page)&^(page-1)
	table, err := mem.New(append(regions, mem.Region{GPA: lostAt, Mem: lost}))
	if err != nil {
		t.Fatal(err)
	}
	b.rx.DeviceConfig.Mem = table
	if b.rx.Device, err = vring.NewDevice(b.rx.DeviceConfig); err != nil {
		t.Fatal(err)
	}
	use(t, b.rx)
	for i := range buffers {
		addr, _ := b.rx.Alloc(size)
		if i == gone {
			addr = lostAt
		}
		if _, err := b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, size)}); err != nil {
			t.Fatal(err)
		}
	}
	b.rx.Driver.Publish()
	sent := []int{100, 1400, 200}
	for i, n := range sent {
		addr, buffer := a.tx.Alloc(virtionet.HeaderLen + n)
		copy(buffer[virtionet.HeaderLen:], nettest.Payload(n, i))
		if _, err := a.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(buffer))}, nil); err != nil {
			t.Fatal(err)
		}
	}
	a.tx.Driver.Publish()

	type report struct {
		failed []Port
		err    error
	}
	faults := make(chan report, 8)
	l, err := joinLoop([]Port{a, b}, Config{CPU: -1, IdleAfter: -1, OnFault: func(failed []Port, err error) { faults <- report{failed, err} }})
	if err != nil {
		t.Fatal(err)
	}
	vanish()
	for _, v := range []*vm{b, a} {
		installed := make(chan struct{})
		go func() { v.Install(v.queues()); close(installed) }()
		for !v.Changed() {
			time.Sleep(time.Millisecond)
		}
		v.Sync()
		<-installed
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var r report
	select {
	case r = <-faults:
	case <-time.After(30 * time.Second):
		t.Fatal("no fault was reported")
	}
	for deadline := time.Now().Add(30 * time.Second); a.tx.Driver.Completed() < len(sent); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a has %d of its buffers back, want %d", a.tx.Driver.Completed(), len(sent))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.Close()
	addr, inMemory := faultAddress(r.err)
	if !inMemory || addr-vringtest.Address(lost) >= size || len(r.failed) != 1 || r.failed[0] != Port(b) {
		t.Errorf("failed %v with %v, want b alone, in the page that is gone", r.failed, r.err)
	}
	if len(faults) > 0 {
		t.Errorf("another fault: %v", (<-faults).err)
	}
	if n := b.rx.Driver.Completed(); n != 0 || b.Counters().TxPackets != 0 {
		t.Errorf("%d buffers were published of a burst that was broken off, %d frames counted", n, b.Counters().TxPackets)
	}
	if err := a.tx.Device.Err(); err != nil || len(a.failed) > 0 {
		t.Errorf("a is innocent and has failed: %v", err)
	}
}
