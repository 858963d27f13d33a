package control

import (
	"bytes"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// While the guest migrates, every page that an answer changes is marked: the answer's, and
// what the ring says of it.
func TestAnswersAreMarked(t *testing.T) {
	for name, packed := range formats {
		g := newDriver(t, packed)
		table, err := mem.New([]mem.Region{{GPA: base, Mem: g.bytes}})
		if err != nil {
			t.Fatal(err)
		}
		bits := make([]byte, mem.DirtyPage)
		log, err := mem.NewDirtyLog(table, bits, 0, table.LogBytes())
		if err != nil {
			t.Fatal(err)
		}
		desc, _, used := g.driver.Addresses()
		l, ok := vring.NewLogging(log, mem.GPA(desc), mem.GPA(used), entries, packed)
		if !ok {
			t.Fatal("the log does not cover the ring")
		}
		g.queue.Ring.SetLogging(l)
		for k := range 3 * entries {
			// The command ends with a page, so that the answer is in the next one.
			command := make([]byte, mem.DirtyPage*(k%3+1))
			g.send(command, nil, []int{1 + k%2})
			before := bytes.Clone(g.bytes)
			clear(bits)
			if n, _ := g.queue.Serve(g.limit, func(byte, byte, *Data) bool { return k%2 == 0 }); n != 1 {
				t.Fatalf("%s: served %d", name, n)
			}
			changed := 0
			for i := range before {
				if before[i] == g.bytes[i] {
					continue
				}
				changed++
				if page := (base + i) / mem.DirtyPage; bits[page/8]>>(page%8)&1 == 0 {
					t.Fatalf("%s, command %d: byte %#x has changed and its page is not marked", name, k, i)
				}
			}
			if changed < 2 {
				t.Fatalf("%s, command %d: %d bytes changed", name, k, changed)
			}
			g.returned()
		}
	}
}
