package guest

import (
	"bytes"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// transmitWith offers a frame with a header in the guest's transmit ring, in parts of these
// sizes.
func (r *guestRig) transmitWith(t *testing.T, h virtionet.Header, frame []byte, sizes ...int) (head uint16) {
	t.Helper()
	var raw [virtionet.HeaderLen]byte
	h.Put(&raw)
	var parts []vring.Part
	for i, rest := 0, append(raw[:r.cur.HeaderLen:r.cur.HeaderLen], frame...); len(rest) > 0; i++ {
		n := len(rest)
		if i < len(sizes) {
			n = min(n, sizes[i])
		}
		addr, b := r.tx.Alloc(n)
		copy(b, rest)
		rest = rest[n:]
		parts = append(parts, vringtest.Part(addr, n))
	}
	head, err := r.tx.Driver.Add(parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.tx.Driver.Publish()
	return head
}

func offloading(sends, takes virtionet.Offloads) Queues {
	q := running
	q.Sends, q.Takes = sends, takes
	return q
}

// Honest headers pass in every layout of buffers, the packet's headers as a copy.
func TestHonestHeadersAreRead(t *testing.T) {
	for _, s := range packettest.Shapes(t, 5000) {
		for _, want := range []virtionet.Header{nettest.CsumHeader(s), nettest.GSOHeader(s, 1448)} {
			for _, sizes := range [][]int{nil, {12}, {5, 7}, {1, 3, 8, 14, 20, 30}, {12, 5000}} {
				r := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(nettest.AllOffloads, 0))
				told := want
				told.HdrLen += 7 // a hint, which need not be right
				frame := s.Unfinished()
				r.transmitWith(t, told, frame, sizes...)
				var frames [2]virtionet.Frame
				if n := r.rxFrames(frames[:]); n != 1 {
					t.Fatalf("%s: %d frames, drops %v", s.Name, n, r.Counters().Drops)
				}
				f := &frames[0]
				if f.Header != want {
					t.Errorf("%s: header %+v, want %+v", s.Name, f.Header, want)
				}
				if got := vringtest.Join(f.Data); !bytes.Equal(got, frame) || f.Len != len(frame) {
					t.Errorf("%s in %v: the frame differs", s.Name, sizes)
				}
				if r.Owns(vringtest.Address(f.Data[0])) || len(f.Data[0]) < int(s.ChecksumField())+2 {
					t.Errorf("%s: the %d bytes of the packet's headers are not our own", s.Name, len(f.Data[0]))
				}
				r.release(1)
			}
		}
	}
}

// What is copied stays as it was when it was checked, for every frame of a burst.
func TestGuestCannotChangeCheckedHeaders(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{HeapBytes: 4 << 20}, offloading(nettest.AllOffloads, 0))
	s := packettest.Shapes(t, 3000)[0]
	var buffers [][]byte
	for range virtionet.MaxBurst {
		var raw [virtionet.HeaderLen]byte
		h := nettest.GSOHeader(s, 1000)
		h.Put(&raw)
		addr, b := r.tx.Alloc(virtionet.HeaderLen + len(s.Frame))
		copy(b, raw[:])
		copy(b[virtionet.HeaderLen:], s.Unfinished())
		if _, err := r.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(b))}, nil); err != nil {
			t.Fatal(err)
		}
		buffers = append(buffers, b)
	}
	r.tx.Driver.Publish()
	var frames [virtionet.MaxBurst]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != virtionet.MaxBurst {
		t.Fatalf("%d frames", n)
	}
	for _, b := range buffers {
		clear(b[:virtionet.HeaderLen+int(s.Layout.End)])
	}
	for i := range frames {
		if !bytes.Equal(vringtest.Join(frames[i].Data), s.Unfinished()) {
			t.Fatalf("frame %d has changed in our hands", i)
		}
	}
}

// A header that lies costs its frame, and nothing else.
func TestLyingHeadersAreDropped(t *testing.T) {
	shapes := map[string]packettest.Shape{}
	for _, s := range packettest.Shapes(t, 5000) {
		shapes[s.Name] = s
	}
	lies := map[string]struct {
		shape  string
		sends  virtionet.Offloads
		header func(*virtionet.Header)
		frame  func([]byte) []byte
	}{
		"checksum not negotiated":      {shape: "tcp4", sends: virtionet.OffloadTSO4},
		"TSO4 not negotiated":          {shape: "tcp4", sends: nettest.AllOffloads &^ virtionet.OffloadTSO4},
		"TSO6 not negotiated":          {shape: "tcp6", sends: nettest.AllOffloads &^ virtionet.OffloadTSO6},
		"ECN not negotiated":           {shape: "tcp4", sends: nettest.AllOffloads &^ virtionet.OffloadECN},
		"USO4 not negotiated":          {shape: "udp4", sends: nettest.AllOffloads &^ virtionet.OffloadUSO4},
		"USO6 not negotiated":          {shape: "udp6", sends: nettest.AllOffloads &^ virtionet.OffloadUSO6},
		"large without checksum":       {header: func(h *virtionet.Header) { h.Flags = 0 }},
		"large with checksum right":    {header: func(h *virtionet.Header) { h.Flags = virtionet.FlagDataValid }},
		"size zero":                    {header: func(h *virtionet.Header) { h.GSOSize = 0 }},
		"thousands of pieces":          {header: func(h *virtionet.Header) { h.GSOSize = 2 }},
		"ECN alone":                    {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOECN }},
		"older UDP":                    {header: func(h *virtionet.Header) { h.GSOType = 3 }, shape: "udp4"},
		"unknown type":                 {header: func(h *virtionet.Header) { h.GSOType = 2 }},
		"all bits of the type":         {header: func(h *virtionet.Header) { h.GSOType = 0xff }},
		"IPv6 that is IPv4":            {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOTCPv6 }},
		"IPv4 that is IPv6":            {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOTCPv4 }, shape: "tcp6"},
		"TCP that is UDP":              {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOTCPv4 }, shape: "udp4"},
		"UDP that is TCP":              {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOUDP }},
		"UDP with ECN":                 {header: func(h *virtionet.Header) { h.GSOType = virtionet.GSOUDP | virtionet.GSOECN }, shape: "udp4"},
		"large, start off by one":      {header: func(h *virtionet.Header) { h.CsumStart++; h.CsumOffset-- }},
		"start in the Ethernet header": {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 0, 6 }},
		"start in the IP header":       {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 20, 30 }},
		"start in the VLAN tag":        {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart = 0, 15 }, shape: "tcp4 tagged"},
		"start in an extension":        {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 54, 20 }, shape: "udp6 extended"},
		"start after the frame":        {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart = 0, 5066 }},
		"start beyond all":             {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart = 0, 0xffff }},
		"start too far in":             {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart = 0, packet.MaxHead }},
		"offset beyond all":            {header: func(h *virtionet.Header) { h.GSOType, h.CsumOffset = 0, 0xffff }},
		"offset is odd":                {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 70, 7 }},
		"start and offset wrap around": {header: func(h *virtionet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 0xfff0, 0x40 }},
		"TCP with UDP's offset":        {header: func(h *virtionet.Header) { h.GSOType, h.CsumOffset = 0, 6 }},
		"UDP with TCP's offset":        {header: func(h *virtionet.Header) { h.GSOType, h.CsumOffset = 0, 16 }, shape: "udp4"},
		"large fragment":               {frame: func(b []byte) []byte { b[20] |= 0x20; return b }},
		"large, TCP header too short":  {frame: func(b []byte) []byte { b[34+12] = 0x40; return b }},
		"large, IP header too long":    {frame: func(b []byte) []byte { b[14] = 0x4f; return b }},
		"large, not IP":                {frame: func(b []byte) []byte { b[12] = 0x88; return b }},
		"field cut in two":             {header: func(h *virtionet.Header) { h.GSOType = 0 }, frame: func(b []byte) []byte { return b[:34+17] }},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			if lie.shape == "" {
				lie.shape = "tcp4"
			}
			if lie.sends == 0 {
				lie.sends = nettest.AllOffloads
			}
			s := shapes[lie.shape]
			h, frame := nettest.GSOHeader(s, 1448), s.Unfinished()
			if lie.header != nil {
				lie.header(&h)
			}
			if lie.frame != nil {
				frame = lie.frame(frame)
			}
			r := newGuestRig(t, vringtest.Config{}, offloading(lie.sends, 0))
			r.transmitWith(t, h, frame)
			r.send(t, nettest.Payload(60, 1)) // the next one
			var frames [4]virtionet.Frame
			if n := r.rxFrames(frames[:]); n != 1 || frames[0].Header != (virtionet.Header{}) || !bytes.Equal(vringtest.Join(frames[0].Data), nettest.Payload(60, 1)) {
				t.Fatalf("%d frames, want the one after it: %+v", n, frames[0].Header)
			}
			r.release(1)
			if c := r.Counters(); c.Drops[virtionet.DropBadHeader] != 1 || c.RxPackets != 1 {
				t.Errorf("counted %+v", c)
			}
			if n := r.tx.Driver.Completed(); n != 2 || len(r.failures) != 0 {
				t.Errorf("%d buffers came back, want both; %v", n, r.failures)
			}
		})
	}
}

// What is odd in a header and harmless does not cost the frame, and goes nowhere.
func TestHarmlessHeadersAreReduced(t *testing.T) {
	s := packettest.Shapes(t, 100)[0]
	inner := virtionet.Header{Flags: virtionet.FlagNeedsCsum, CsumStart: 80, CsumOffset: 16} // as of a packet in a tunnel
	for name, c := range map[string]struct {
		sends    virtionet.Offloads
		in, want virtionet.Header
	}{
		"nothing":                     {nettest.AllOffloads, virtionet.Header{HdrLen: 0xffff, GSOSize: 1, CsumStart: 3, CsumOffset: 0xffff}, virtionet.Header{}},
		"nothing negotiated":          {0, nettest.GSOHeader(s, 1448), virtionet.Header{}},
		"unknown flags":               {nettest.AllOffloads, virtionet.Header{Flags: 0xf8 | 4}, virtionet.Header{}},
		"unknown flags, and checksum": {nettest.AllOffloads, virtionet.Header{Flags: 0xfd, CsumStart: 34, CsumOffset: 16}, nettest.CsumHeader(s)},
		"driver says data are valid":  {nettest.AllOffloads, virtionet.Header{Flags: virtionet.FlagDataValid}, virtionet.Header{}},
		"device says data are valid":  {virtionet.OffloadCsum | virtionet.OffloadDataValid, virtionet.Header{Flags: virtionet.FlagDataValid, GSOSize: 9, CsumStart: 9}, virtionet.Header{Flags: virtionet.FlagDataValid}},
		"valid, and to be completed":  {virtionet.OffloadCsum | virtionet.OffloadDataValid, virtionet.Header{Flags: 3, CsumStart: 34, CsumOffset: 16}, nettest.CsumHeader(s)},
		"large, and fits one piece":   {nettest.AllOffloads, nettest.GSOHeader(s, 100), nettest.CsumHeader(s)},
		"inner checksum":              {nettest.AllOffloads, inner, inner},
		"size without type":           {nettest.AllOffloads, virtionet.Header{Flags: 1, CsumStart: 34, CsumOffset: 16, GSOSize: 7, HdrLen: 999}, nettest.CsumHeader(s)},
	} {
		r := newGuestRig(t, vringtest.Config{}, offloading(c.sends, 0))
		r.transmitWith(t, c.in, s.Unfinished())
		var frames [1]virtionet.Frame
		if n := r.rxFrames(frames[:]); n != 1 || frames[0].Header != c.want {
			t.Errorf("%s: %d frames, header %+v, want %+v", name, n, frames[0].Header, c.want)
		} else if !bytes.Equal(vringtest.Join(frames[0].Data), s.Unfinished()) {
			t.Errorf("%s: the frame differs", name)
		}
	}
}
