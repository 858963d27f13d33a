package port

import (
	"testing"

	"vvufwd/virtio/vring"
)

// TestPlacement checks what newSharedRing and the generator's speed rely on.
func TestPlacement(t *testing.T) {
	for _, n := range []int{16, 256, 32768} {
		for _, room := range []int{Header + 64, Header + 1518, 2048, Header + 9000} {
			p := place(4096, n, room)
			at := 4096
			for _, part := range []struct {
				name         string
				start, bytes int
				align, rest  int
			}{
				{"table", p.desc, vring.TableBytes(n), 16, 0},
				{"avail", p.avail, vring.AvailBytes(n), 4, 0},
				{"used", p.used, vring.UsedBytes(n) + 2, 8, 4},
				{"indirect", p.indirect, n * 2 * vring.DescSize, 16, 0},
				{"buffers", p.buffers, n * p.stride, 64, 0},
			} {
				if part.start < at {
					t.Errorf("%d entries of %d bytes: %s begins at %d, inside what is before it", n, room, part.name, part.start)
				}
				if part.start%part.align != part.rest {
					t.Errorf("%d entries: %s at %d, want %d modulo %d", n, part.name, part.start, part.rest, part.align)
				}
				at = part.start + part.bytes
			}
			if p.end < at {
				t.Errorf("%d entries of %d bytes: end %d, want at least %d", n, room, p.end, at)
			}
			if p.stride < headerAt+room || p.stride%cacheLine != 0 || p.stride/cacheLine%2 == 0 {
				t.Errorf("stride %d for %d bytes: want room, and an odd number of cache lines", p.stride, room)
			}
		}
	}
}
