// Package vringtest joins the driver side and the device side of a virtio ring
// in memory, for tests of whatever stands on either side.
//
// NewPair lays a ring out in guest memory made for the test and returns both
// sides of it. Alloc and AllocAcross give buffers in the same memory, the latter
// across the border of two regions. Raw writes and reads the bytes of the ring
// past both sides, as a hostile driver or device does.
//
//	p := vringtest.NewPair(t, vringtest.Config{Size: 8, EventIdx: true})
//	addr, buf := p.Alloc(64)
//	p.Driver.Add([]vring.Part{{Addr: uint64(addr), Len: 64}}, nil)
//	p.Driver.Publish()
//	p.Device.Available()
//	p.Device.Pop(&chain) // chain.Read[0] is buf
//
// The memory is heap-backed unless asked otherwise, so that the race detector
// watches it.
package vringtest
