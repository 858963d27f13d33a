package hostile

import (
	"bytes"
	"slices"
	"testing"

	"vvufwd/virtio/vring"
)

// oddity is a way to lay out a buffer that is strange and legal, or that other back-ends serve as well.
type oddity struct {
	name  string
	parts []desc
	table bool   // the parts are in an indirect table
	at    uint64 // where the table is, if not at its usual place
	lead  int    // so many parts are in the ring itself, before the table
}

// bytewise is n buffers of one byte.
func bytewise(addr uint64, n int) (parts []desc) {
	for i := range n {
		parts = append(parts, part(addr+uint64(i), 1))
	}
	return parts
}

const nowhere = 0x2000_0000

var oddities = []oddity{
	{name: "header and frame in bytes", parts: append(bytewise(scratchGPA, 12+40), part(scratchGPA+12+40, 2000))},
	{name: "header in bytes, in a table", parts: append(bytewise(scratchGPA, 12), part(scratchGPA+12, 2000)), table: true},
	{name: "empty buffers between", parts: []desc{part(nowhere, 0), part(scratchGPA, 12), part(0, 0), part(scratchGPA+12, 2000), part(1<<64-1, 0)}},
	{name: "across the border of regions", parts: []desc{part(endGPA-100, 2000)}},
	{name: "border within the header", parts: []desc{part(endGPA-5, 2000)}},
	{name: "border between buffers", parts: []desc{part(endGPA-100, 100), part(nextGPA, 2000)}},
	{name: "table across the border of regions", parts: []desc{part(scratchGPA, 12), part(scratchGPA+12, 100), part(scratchGPA+112, 1000)}, table: true, at: endGPA - 24},
	{name: "table at an odd address", parts: []desc{part(scratchGPA, 12), part(scratchGPA+12, 2000)}, table: true, at: scratchGPA + 0x3001},
	{name: "table behind buffers", parts: []desc{part(scratchGPA, 12), part(scratchGPA+12, 50), part(scratchGPA+62, 2000)}, table: true, lead: 2},
	{name: "as many parts as the ring", parts: append(bytewise(scratchGPA, ringEntries-1), part(scratchGPA+ringEntries-1, 2000))},
	{name: "table longer than the ring", parts: append(bytewise(scratchGPA, 2*ringEntries), part(scratchGPA+2*ringEntries, 2000)), table: true},
	{name: "the last bytes of memory", parts: []desc{part(nextGPA+nextBytes-600, 600)}},
}

// lay writes the oddity into a ring and offers it.
func (o *oddity) lay(r *ring, w uint16) {
	if !o.table {
		r.chain(0, w, o.parts...)
		r.offer(0)
		return
	}
	parts, at := slices.Clone(o.parts[o.lead:]), o.at
	if at == 0 {
		at = r.table()
	}
	table := make([]byte, len(parts)*vring.DescSize)
	for i, d := range parts {
		d.Flags |= w
		if i < len(parts)-1 {
			d.Flags, d.Next = d.Flags|vring.DescNext, uint16(i+1)
		}
		putDesc(table, i, d)
	}
	r.ram.write(at, table)
	for i, d := range o.parts[:o.lead] {
		r.set(i, link(d, uint16(i+1), w))
	}
	r.set(o.lead, desc{Addr: at, Len: uint32(len(table)), Flags: vring.DescIndirect})
	r.offer(0)
}

// content is the first n bytes of its buffers.
func (o *oddity) content(r *ram, n int) (b []byte) {
	for _, d := range o.parts {
		if k := min(int(d.Len), n-len(b)); k > 0 {
			b = append(b, r.read(d.Addr, k)...)
		}
	}
	return b
}

// size is how much they hold.
func (o *oddity) size() (n int) {
	for _, d := range o.parts {
		n += int(d.Len)
	}
	return n
}

// What is strange and legal works.
func TestOddBuffers(t *testing.T) {
	f := startForwarder(t, 4, "--log-level=debug")
	startVictim(t, f, 2, 3, gentle...)
	partner := join(t, f.sockets[1])
	defer partner.leave()
	for _, o := range oddities {
		t.Run("transmit/"+o.name, func(t *testing.T) {
			g := join(t, f.sockets[0])
			defer g.leave()
			want := testFrame(77, o.size()-vnetHeader)
			image := append(make([]byte, vnetHeader), want...)
			for _, d := range o.parts {
				if d.Len > 0 {
					g.ram.write(d.Addr, image[:d.Len])
					image = image[d.Len:]
				}
			}
			o.lay(g.rings[transmitRing], 0)
			g.kick(transmitRing)
			got, err := partner.awaitFrame(patience, isFrame(want))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes arrived, %d were sent: %v", len(got), len(want), err)
			}
			unbroken(t, f, g)
		})
		t.Run("receive/"+o.name, func(t *testing.T) {
			g := joinWith(t, f.sockets[0], defaultFeatures, false)
			defer g.leave()
			r := g.rings[receiveRing]
			o.lay(r, vring.DescWrite)
			g.kick(receiveRing)
			want := testFrame(78, min(500, o.size()-vnetHeader))
			if err := partner.send(want); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the buffer is used", func() bool { return r.usedIdx() == 1 })
			if id, n, _ := r.done(); id != 0 || int(n) != vnetHeader+len(want) {
				t.Errorf("used buffer %d with %d bytes, want 0 with %d", id, n, vnetHeader+len(want))
			}
			if got := o.content(g.ram, vnetHeader+len(want))[vnetHeader:]; !bytes.Equal(got, want) {
				t.Error("another frame arrived")
			}
			unbroken(t, f, g)
		})
	}
}

// isFrame recognises a frame by its number.
func isFrame(want []byte) func([]byte) bool {
	return func(f []byte) bool { return len(f) >= 22 && bytes.Equal(f[14:22], want[14:22]) }
}

// unbroken makes sure that no ring of the guest has stopped.
func unbroken(t *testing.T, f *forwarder, g *guest) {
	t.Helper()
	if told := f.log.find(0, says(g.path, "violated the ring protocol")); len(told) > 0 {
		t.Errorf("a ring was stopped: %+v", told)
	}
}

// Frames that cannot be forwarded are given back and counted, and those after
// them pass.
func TestRuntsAndGiants(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	r := a.rings[transmitRing]
	const mostBytes = 65535 + 18
	for _, c := range []struct {
		name  string
		why   string
		parts []desc
	}{
		{"header alone", "runt", []desc{part(scratchGPA, vnetHeader)}},
		{"runt", "runt", []desc{part(scratchGPA, vnetHeader+13)}},
		{"just too long", "too_long", []desc{part(vastGPA, vnetHeader+mostBytes+1)}},
		{"a gigabyte", "too_long", []desc{part(vastGPA, vastBytes)}},
		{"nearly four gigabytes", "too_long", []desc{part(vastGPA, vastBytes), part(vastGPA, vastBytes), part(vastGPA, vastBytes), part(vastGPA, vastBytes-1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, used := f.stats.port(a.path).Drops[c.why], r.usedIdx()
			r.chain(0, 0, c.parts...)
			for range ringEntries {
				r.offer(0)
			}
			a.kick(transmitRing)
			eventually(t, "all buffers come back", func() bool { return r.usedIdx()-used == ringEntries })
			eventually(t, "they are counted", func() bool { return f.stats.port(a.path).Drops[c.why] == before+ringEntries })
			r.used = r.usedIdx()
			exchange(t, a, b)
		})
	}
	t.Run("longest", func(t *testing.T) {
		// It takes seventeen of the partner's buffers.
		before := f.stats.port(b.path).TxPackets
		r.set(0, part(vastGPA, vnetHeader+mostBytes))
		r.offer(0)
		a.kick(transmitRing)
		eventually(t, "the longest frame arrives", func() bool { return f.stats.port(b.path).TxPackets > before })
	})
}
