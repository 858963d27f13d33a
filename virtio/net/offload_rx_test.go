package virtionet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"vvufwd/virtio"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

const allOffloads = OffloadCsum | offloadGSO

// gsoType is the type of a header for a large segment of the shape.
func gsoType(s packettest.Shape) uint8 {
	switch {
	case s.Layout.Protocol == packet.UDP:
		return gsoUDP
	case s.Layout.IPv6:
		return gsoTCP6 | gsoECN
	}
	return gsoTCP4 | gsoECN
}

// csumHeader is the header of an honest guest that leaves the checksum.
func csumHeader(s packettest.Shape) Header {
	return Header{Flags: flagNeedsCsum, CsumStart: s.Layout.L4, CsumOffset: s.Layout.ChecksumOffset()}
}

// gsoHeader is that of one that leaves the segmentation too.
func gsoHeader(s packettest.Shape, size int) Header {
	h := csumHeader(s)
	h.GSOType, h.GSOSize, h.HdrLen = gsoType(s), uint16(size), s.Layout.End
	return h
}

// transmitWith offers a frame with a header in the guest's transmit ring, in parts of these
// sizes.
func (r *guestRig) transmitWith(t *testing.T, h Header, frame []byte, sizes ...int) (head uint16) {
	t.Helper()
	var raw [HeaderLen]byte
	h.put(&raw)
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

func offloading(sends, takes Offloads) Queues {
	q := running
	q.Sends, q.Takes = sends, takes
	return q
}

func TestOffloadsFollowFeatures(t *testing.T) {
	for _, c := range []struct {
		features           virtio.Features
		toDevice, toDriver Offloads
	}{
		{virtio.NetOffloads, allOffloads, allOffloads | OffloadDataValid},
		{virtio.NetCsum, OffloadCsum, 0},
		{virtio.NetGuestCsum, 0, OffloadCsum | OffloadDataValid},
		{virtio.NetOffloads &^ virtio.NetCsum, 0, allOffloads | OffloadDataValid},
		{virtio.NetOffloads &^ virtio.NetGuestCsum, allOffloads, 0},
		{virtio.NetCsum | virtio.NetHostTSO6 | virtio.NetHostECN, OffloadCsum | OffloadTSO6 | OffloadECN, 0},
		{virtio.NetCsum | virtio.NetHostUSO, OffloadCsum | OffloadUSO4 | OffloadUSO6, 0},
		{virtio.NetGuestCsum | virtio.NetGuestUSO6 | virtio.NetGuestTSO4, 0, OffloadCsum | OffloadDataValid | OffloadUSO6 | OffloadTSO4},
		{virtio.NetMrgRxbuf | virtio.Version1, 0, 0},
	} {
		if to, from := OffloadsToDevice(c.features), OffloadsToDriver(c.features); to != c.toDevice || from != c.toDriver {
			t.Errorf("%v: to the device %#x, to the driver %#x; want %#x, %#x", c.features, to, from, c.toDevice, c.toDriver)
		}
	}
}

// Honest headers pass in every layout of buffers, the packet's headers as a copy.
func TestHonestHeadersAreRead(t *testing.T) {
	for _, s := range packettest.Shapes(t, 5000) {
		for _, want := range []Header{csumHeader(s), gsoHeader(s, 1448)} {
			for _, sizes := range [][]int{nil, {12}, {5, 7}, {1, 3, 8, 14, 20, 30}, {12, 5000}} {
				r := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(allOffloads, 0))
				told := want
				told.HdrLen += 7 // a hint, which need not be right
				frame := s.Unfinished()
				r.transmitWith(t, told, frame, sizes...)
				var frames [2]Frame
				if n := r.RxBurst(frames[:]); n != 1 {
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
				r.Release(1)
			}
		}
	}
}

// What is copied stays as it was when it was checked, for every frame of a burst.
func TestGuestCannotChangeCheckedHeaders(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{HeapBytes: 4 << 20}, offloading(allOffloads, 0))
	s := packettest.Shapes(t, 3000)[0]
	var buffers [][]byte
	for range MaxBurst {
		var raw [HeaderLen]byte
		h := gsoHeader(s, 1000)
		h.put(&raw)
		addr, b := r.tx.Alloc(HeaderLen + len(s.Frame))
		copy(b, raw[:])
		copy(b[HeaderLen:], s.Unfinished())
		if _, err := r.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(b))}, nil); err != nil {
			t.Fatal(err)
		}
		buffers = append(buffers, b)
	}
	r.tx.Driver.Publish()
	var frames [MaxBurst]Frame
	if n := r.RxBurst(frames[:]); n != MaxBurst {
		t.Fatalf("%d frames", n)
	}
	for _, b := range buffers {
		clear(b[:HeaderLen+int(s.Layout.End)])
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
		sends  Offloads
		header func(*Header)
		frame  func([]byte) []byte
	}{
		"checksum not negotiated":      {shape: "tcp4", sends: OffloadTSO4},
		"TSO4 not negotiated":          {shape: "tcp4", sends: allOffloads &^ OffloadTSO4},
		"TSO6 not negotiated":          {shape: "tcp6", sends: allOffloads &^ OffloadTSO6},
		"ECN not negotiated":           {shape: "tcp4", sends: allOffloads &^ OffloadECN},
		"USO4 not negotiated":          {shape: "udp4", sends: allOffloads &^ OffloadUSO4},
		"USO6 not negotiated":          {shape: "udp6", sends: allOffloads &^ OffloadUSO6},
		"large without checksum":       {header: func(h *Header) { h.Flags = 0 }},
		"large with checksum right":    {header: func(h *Header) { h.Flags = flagDataValid }},
		"size zero":                    {header: func(h *Header) { h.GSOSize = 0 }},
		"thousands of pieces":          {header: func(h *Header) { h.GSOSize = 2 }},
		"ECN alone":                    {header: func(h *Header) { h.GSOType = gsoECN }},
		"older UDP":                    {header: func(h *Header) { h.GSOType = 3 }, shape: "udp4"},
		"unknown type":                 {header: func(h *Header) { h.GSOType = 2 }},
		"all bits of the type":         {header: func(h *Header) { h.GSOType = 0xff }},
		"IPv6 that is IPv4":            {header: func(h *Header) { h.GSOType = gsoTCP6 }},
		"IPv4 that is IPv6":            {header: func(h *Header) { h.GSOType = gsoTCP4 }, shape: "tcp6"},
		"TCP that is UDP":              {header: func(h *Header) { h.GSOType = gsoTCP4 }, shape: "udp4"},
		"UDP that is TCP":              {header: func(h *Header) { h.GSOType = gsoUDP }},
		"UDP with ECN":                 {header: func(h *Header) { h.GSOType = gsoUDP | gsoECN }, shape: "udp4"},
		"large, start off by one":      {header: func(h *Header) { h.CsumStart++; h.CsumOffset-- }},
		"start in the Ethernet header": {header: func(h *Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 0, 6 }},
		"start in the IP header":       {header: func(h *Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 20, 30 }},
		"start in the VLAN tag":        {header: func(h *Header) { h.GSOType, h.CsumStart = 0, 15 }, shape: "tcp4 tagged"},
		"start in an extension":        {header: func(h *Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 54, 20 }, shape: "udp6 extended"},
		"start behind the frame":       {header: func(h *Header) { h.GSOType, h.CsumStart = 0, 5066 }},
		"start beyond all":             {header: func(h *Header) { h.GSOType, h.CsumStart = 0, 0xffff }},
		"start too far in":             {header: func(h *Header) { h.GSOType, h.CsumStart = 0, packet.MaxHead }},
		"offset beyond all":            {header: func(h *Header) { h.GSOType, h.CsumOffset = 0, 0xffff }},
		"offset is odd":                {header: func(h *Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 70, 7 }},
		"start and offset wrap around": {header: func(h *Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 0xfff0, 0x40 }},
		"TCP with UDP's offset":        {header: func(h *Header) { h.GSOType, h.CsumOffset = 0, 6 }},
		"UDP with TCP's offset":        {header: func(h *Header) { h.GSOType, h.CsumOffset = 0, 16 }, shape: "udp4"},
		"large fragment":               {frame: func(b []byte) []byte { b[20] |= 0x20; return b }},
		"large, TCP header too short":  {frame: func(b []byte) []byte { b[34+12] = 0x40; return b }},
		"large, IP header too long":    {frame: func(b []byte) []byte { b[14] = 0x4f; return b }},
		"large, not IP":                {frame: func(b []byte) []byte { b[12] = 0x88; return b }},
		"field cut in two":             {header: func(h *Header) { h.GSOType = 0 }, frame: func(b []byte) []byte { return b[:34+17] }},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			if lie.shape == "" {
				lie.shape = "tcp4"
			}
			if lie.sends == 0 {
				lie.sends = allOffloads
			}
			s := shapes[lie.shape]
			h, frame := gsoHeader(s, 1448), s.Unfinished()
			if lie.header != nil {
				lie.header(&h)
			}
			if lie.frame != nil {
				frame = lie.frame(frame)
			}
			r := newGuestRig(t, vringtest.Config{}, offloading(lie.sends, 0))
			r.transmitWith(t, h, frame)
			r.send(t, payload(60, 1)) // the next one
			var frames [4]Frame
			if n := r.RxBurst(frames[:]); n != 1 || frames[0].Header != (Header{}) || !bytes.Equal(vringtest.Join(frames[0].Data), payload(60, 1)) {
				t.Fatalf("%d frames, want the one behind it: %+v", n, frames[0].Header)
			}
			r.Release(1)
			if c := r.Counters(); c.Drops[DropBadHeader] != 1 || c.RxPackets != 1 {
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
	inner := Header{Flags: flagNeedsCsum, CsumStart: 80, CsumOffset: 16} // as of a packet in a tunnel
	for name, c := range map[string]struct {
		sends    Offloads
		in, want Header
	}{
		"nothing":                     {allOffloads, Header{HdrLen: 0xffff, GSOSize: 1, CsumStart: 3, CsumOffset: 0xffff}, Header{}},
		"nothing negotiated":          {0, gsoHeader(s, 1448), Header{}},
		"unknown flags":               {allOffloads, Header{Flags: 0xf8 | 4}, Header{}},
		"unknown flags, and checksum": {allOffloads, Header{Flags: 0xfd, CsumStart: 34, CsumOffset: 16}, csumHeader(s)},
		"driver says data are valid":  {allOffloads, Header{Flags: flagDataValid}, Header{}},
		"device says data are valid":  {OffloadCsum | OffloadDataValid, Header{Flags: flagDataValid, GSOSize: 9, CsumStart: 9}, Header{Flags: flagDataValid}},
		"valid, and to be completed":  {OffloadCsum | OffloadDataValid, Header{Flags: 3, CsumStart: 34, CsumOffset: 16}, csumHeader(s)},
		"large, and fits one piece":   {allOffloads, gsoHeader(s, 100), csumHeader(s)},
		"inner checksum":              {allOffloads, inner, inner},
		"size without type":           {allOffloads, Header{Flags: 1, CsumStart: 34, CsumOffset: 16, GSOSize: 7, HdrLen: 999}, csumHeader(s)},
	} {
		r := newGuestRig(t, vringtest.Config{}, offloading(c.sends, 0))
		r.transmitWith(t, c.in, s.Unfinished())
		var frames [1]Frame
		if n := r.RxBurst(frames[:]); n != 1 || frames[0].Header != c.want {
			t.Errorf("%s: %d frames, header %+v, want %+v", name, n, frames[0].Header, c.want)
		} else if !bytes.Equal(vringtest.Join(frames[0].Data), s.Unfinished()) {
			t.Errorf("%s: the frame differs", name)
		}
	}
}

// A NIC's device may merge segments and vouch for checksums; its lies are dropped too.
func TestNICReadsHeaders(t *testing.T) {
	const features = rigFeatures | virtio.NetOffloads
	s := packettest.Shapes(t, 60000)[0]
	r := newNICRig(t, features, 64, 0)
	h := gsoHeader(s, 1448)
	h.NumBuffers = uint16((HeaderLen + len(s.Frame) + smallBuffer - 1) / smallBuffer)
	var raw [HeaderLen]byte
	h.put(&raw)
	var pieces [][]byte
	for rest := append(raw[:], s.Unfinished()...); len(rest) > 0; rest = rest[min(len(rest), smallBuffer):] {
		pieces = append(pieces, rest[:min(len(rest), smallBuffer)])
	}
	r.arrive(t, pieces...)
	valid := withHeader(1, payload(60, 1))
	valid[0] = flagDataValid
	r.arrive(t, valid)
	bad := withHeader(1, payload(60, 2))
	bad[1] = gsoTCP4
	r.arrive(t, bad)
	r.arrive(t, withHeader(1, payload(60, 3)))
	var frames [8]Frame
	n := r.RxBurst(frames[:])
	if c := r.Counters(); n != 3 || c.Drops[DropBadHeader] != 1 {
		t.Fatalf("%d frames, drops %v", n, c.Drops)
	}
	h.NumBuffers = 0
	for i, want := range []struct {
		header Header
		data   []byte
	}{{h, s.Unfinished()}, {Header{Flags: flagDataValid}, payload(60, 1)}, {Header{}, payload(60, 3)}} {
		if frames[i].Header != want.header || !bytes.Equal(vringtest.Join(frames[i].Data), want.data) {
			t.Errorf("frame %d has header %+v, want %+v, or its data differ", i, frames[i].Header, want.header)
		}
	}
	r.Release(3)
	if r.devRx.Available(); r.devRx.Pending() != 64 {
		t.Errorf("the device holds %d receive buffers, want all 64", r.devRx.Pending())
	}
}

func TestNICWantsOffloadsThatItCanUse(t *testing.T) {
	const (
		guestTSO = virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN
		guestUSO = virtio.NetGuestUSO4 | virtio.NetGuestUSO6
		all      = virtio.NetOffloads | virtio.NetMrgRxbuf | virtio.Version1
	)
	for i, c := range []struct {
		offered virtio.Features
		rxSize  int
		want    virtio.Features
	}{
		{all, 256, virtio.NetOffloads},
		{all &^ virtio.NetMrgRxbuf, 256, virtio.NetOffloads &^ (guestTSO | guestUSO)},
		{all, 32, virtio.NetOffloads &^ (guestTSO | guestUSO)},
		{all, 64, virtio.NetOffloads},
		{all &^ virtio.NetGuestCsum, 256, virtio.NetOffloads &^ (virtio.NetGuestCsum | guestTSO | guestUSO)},
		{all &^ virtio.NetCsum, 256, virtio.NetGuestCsum | guestTSO | guestUSO},
		{virtio.NetMrgRxbuf | virtio.NetCsum | virtio.NetHostECN | virtio.NetGuestCsum | virtio.NetGuestECN, 256, virtio.NetCsum | virtio.NetGuestCsum},
		{virtio.Version1, 256, 0},
	} {
		if got := wantedOffloads(c.offered, c.rxSize); got != c.want {
			t.Errorf("case %d: %v, want %v", i, got, c.want)
		}
	}
}

// FuzzHeader lets a guest send any header before any frame, and finishes what is
// accepted for guests that take all, or some, or nothing.
func FuzzHeader(f *testing.F) {
	for _, s := range packettest.Shapes(f, 3000) {
		for _, h := range []Header{csumHeader(s), gsoHeader(s, 1000), {Flags: flagDataValid}} {
			var raw [HeaderLen]byte
			h.put(&raw)
			f.Add(raw[:LegacyHeaderLen], s.Unfinished(), uint8(allOffloads), uint8(0), uint16(40))
		}
	}
	f.Fuzz(func(t *testing.T, raw, data []byte, sends, takes uint8, cut uint16) {
		if len(raw) < LegacyHeaderLen || len(data) < MinFrame || len(data) > 0xffff {
			return
		}
		in, fr := &intake{}, Frame{Data: [][]byte{data}, Len: len(data)}
		if n := int(cut) % len(data); n > 0 {
			fr.Data = [][]byte{data[:n:n], data[n:]}
		}
		if !in.inspect(0, &fr, (*[LegacyHeaderLen]byte)(raw), Offloads(sends)) {
			return
		}
		if err := checkFinished(&fr, data, Offloads(takes)); err != nil {
			t.Error(err)
		}
	})
}

// checkFinished finishes a frame with these data for a port and checks what comes out.
func checkFinished(f *Frame, data []byte, takes Offloads) error {
	var fin finisher
	var c Counters
	if !bytes.Equal(vringtest.Join(f.Data), data) {
		return fmt.Errorf("the frame was changed")
	}
	if !fin.begin(f, takes, 1518) {
		if int(f.layout.End)+int(f.Header.GSOSize) <= 1518 {
			return fmt.Errorf("refused: %+v", f.Header)
		}
		return nil
	}
	h, end, pieces := f.Header, int(f.layout.End), 0
	var rest []byte
	for ; fin.next(&c); fin.sent(&c) {
		out := vringtest.Join(fin.out.Data)
		if pieces++; len(out) != fin.out.Len || pieces > maxPieces {
			return fmt.Errorf("piece %d has %d bytes, says %d", pieces, len(out), fin.out.Len)
		}
		if oh := fin.out.Header; oh.Flags&flagNeedsCsum != 0 && takes&OffloadCsum == 0 || oh.Flags&flagDataValid != 0 && takes&OffloadDataValid == 0 ||
			oh.GSOType != 0 && oh.gsoOffloads(f.layout.IPv6)&^takes != 0 {
			return fmt.Errorf("header %+v for one that takes %#x", oh, takes)
		}
		if h.Flags&flagNeedsCsum != 0 && fin.out.Header.Flags == 0 {
			// With the checksum in its place of the sum P, all adds up to the complement of P.
			start, field := int(h.CsumStart), int(h.CsumStart+h.CsumOffset)
			partial := binary.BigEndian.Uint16(data[field:])
			if h.GSOType != 0 {
				partial = packettest.Sum([]byte{byte(partial >> 8), byte(partial), byte(len(out) >> 8), byte(len(out)), ^byte(len(data) >> 8), ^byte(len(data))})
			}
			if got := packettest.Sum(out[start:]); got%0xffff != ^partial%0xffff {
				return fmt.Errorf("checksum: %#x, want %#x", got, ^partial)
			}
		}
		if h.GSOType == gsoNone || fin.out.Header.GSOType != gsoNone {
			if len(out) != len(data) {
				return fmt.Errorf("%d bytes of %d", len(out), len(data))
			}
			if h.Flags&flagNeedsCsum == 0 || fin.out.Header.Flags != 0 {
				rest = out
				continue
			}
			field := int(h.CsumStart + h.CsumOffset)
			rest = append(append(append([]byte{}, out[:field]...), data[field:field+2]...), out[field+2:]...)
			continue
		}
		if n := len(out) - end; n > int(h.GSOSize) || n <= 0 {
			return fmt.Errorf("piece of %d bytes, size %d", n, h.GSOSize)
		}
		rest = append(rest, out[end:]...)
	}
	if h.GSOType != gsoNone && len(rest) != len(data) {
		rest = append(append([]byte{}, data[:end]...), rest...)
	}
	if !bytes.Equal(rest, data) || !bytes.Equal(vringtest.Join(f.Data), data) {
		return fmt.Errorf("what came out is not what went in")
	}
	return nil
}
