package vringtest

import (
	"testing"

	"vvufwd/virtio/vring"
)

// Fill has the device side put n frames into the driver's buffers: write fills the buffer of one, and
// returns how many bytes that are.
func Fill(t testing.TB, q *vring.Device, n int, write func(buffer []byte) int) {
	serve(t, q, n, "no room for a frame that arrives", func(c *vring.Chain) int { return write(c.Write[0]) })
}

// Drain has the device side take n frames, which the driver has sent.
func Drain(t testing.TB, q *vring.Device, n int) {
	serve(t, q, n, "frames were not sent", func(*vring.Chain) int { return 0 })
}

// serve uses n chains and publishes them together. What the device side knew of memory before is forgotten.
func serve(t testing.TB, q *vring.Device, n int, lack string, use func(c *vring.Chain) (written int)) {
	q.ResetViews()
	q.Available()
	var c vring.Chain
	for range n {
		if !q.Pop(&c) {
			t.Fatal(lack)
		}
		q.Push(c.Head, uint32(use(&c)))
	}
	q.Publish()
}
