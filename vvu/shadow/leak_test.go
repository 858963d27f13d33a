package shadow_test

import (
	"bytes"
	"fmt"
	"testing"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// ink fills an app VM's RAM, and nothing else has two of it side by side: neither frames nor rings.
const ink = 0xf3

// plainFrame is a frame of a length without ink.
func plainFrame(length int) []byte {
	b := frame(1)[:14]
	for len(b) < length {
		b = append(b, byte(len(b)%200))
	}
	return b
}

// Not a byte of the app VM's RAM beyond the frames that it sends gets into the region, not even one next to a frame, whatever
// length that has, on whichever way it is copied.
func TestNotAByteMore(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for name, features := range map[string]virtio.Features{"mergeable": vvutest.AllFeatures, "packed": vvutest.AllFeatures | virtio.RingPacked, "poor": virtio.Version1} {
			t.Run(fmt.Sprintf("packed %v/%s", packed, name), func(t *testing.T) {
				r := newRig(t, rigConfig{packed: packed})
				copy(r.ram.Bytes, bytes.Repeat([]byte{ink}, len(r.ram.Bytes)))
				d := r.drive()
				app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU, Features: features})
				r.served(d)
				pop := func(length int) {
					t.Helper()
					got, err := d.wires[0].Pop()
					must(t, err)
					if want := plainFrame(length); !bytes.Equal(got, want) {
						t.Fatalf("a frame of %d bytes arrives as one of %d", length, len(got))
					}
				}
				const longest = 1514
				inked, sent := 0, 0
				for length := 60; length <= longest; sent++ {
					must(t, app.Send(plainFrame(length)))
					pop(length)
					if sent%100 == 0 || length == longest { // the region has the last 256
						inked += bytes.Count(readRegion(t, r), []byte{ink, ink})
					}
					if length++; length > 200 && length < longest {
						length = min(length+12, longest)
					}
				}
				if inked != 0 {
					t.Errorf("the region has %d pairs of bytes that are the app VM's", inked)
				}
				if !bytes.Contains(readRegion(t, r), plainFrame(longest)) {
					t.Error("not even a frame that was sent can be found: what is looked at is not the region")
				}
				if !bytes.Contains(r.ram.Bytes, append(plainFrame(longest), ink, ink)) {
					t.Error("after a frame in the app VM's RAM there is no ink: this shows nothing")
				}
			})
		}
	}
}
