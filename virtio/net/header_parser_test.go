package virtionet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring/vringtest"
)

func TestOffloadsFollowFeatures(t *testing.T) {
	for _, c := range []struct {
		features           virtio.Features
		toDevice, toDriver virtionet.Offloads
	}{
		{virtio.NetOffloads, nettest.AllOffloads, nettest.AllOffloads | virtionet.OffloadDataValid},
		{virtio.NetCsum, virtionet.OffloadCsum, 0},
		{virtio.NetGuestCsum, 0, virtionet.OffloadCsum | virtionet.OffloadDataValid},
		{virtio.NetOffloads &^ virtio.NetCsum, 0, nettest.AllOffloads | virtionet.OffloadDataValid},
		{virtio.NetOffloads &^ virtio.NetGuestCsum, nettest.AllOffloads, 0},
		{virtio.NetCsum | virtio.NetHostTSO6 | virtio.NetHostECN, virtionet.OffloadCsum | virtionet.OffloadTSO6 | virtionet.OffloadECN, 0},
		{virtio.NetCsum | virtio.NetHostUSO, virtionet.OffloadCsum | virtionet.OffloadUSO4 | virtionet.OffloadUSO6, 0},
		{virtio.NetGuestCsum | virtio.NetGuestUSO6 | virtio.NetGuestTSO4, 0, virtionet.OffloadCsum | virtionet.OffloadDataValid | virtionet.OffloadUSO6 | virtionet.OffloadTSO4},
		{virtio.NetMrgRxbuf | virtio.Version1, 0, 0},
	} {
		if to, from := virtionet.OffloadsToDevice(c.features), virtionet.OffloadsToDriver(c.features); to != c.toDevice || from != c.toDriver {
			t.Errorf("%v: to the device %#x, to the driver %#x; want %#x, %#x", c.features, to, from, c.toDevice, c.toDriver)
		}
	}
}

// FuzzHeader lets a guest send any header before any frame, and finishes what is
// accepted for guests that take all, or some, or nothing.
func FuzzHeader(f *testing.F) {
	for _, s := range packettest.Shapes(f, 3000) {
		for _, h := range []virtionet.Header{nettest.CsumHeader(s), nettest.GSOHeader(s, 1000), {Flags: virtionet.FlagDataValid}} {
			var raw [virtionet.HeaderLen]byte
			h.Put(&raw)
			f.Add(raw[:virtionet.LegacyHeaderLen], s.Unfinished(), uint8(nettest.AllOffloads), uint8(0), uint16(40))
		}
	}
	f.Fuzz(func(t *testing.T, raw, data []byte, sends, takes uint8, cut uint16) {
		if len(raw) < virtionet.LegacyHeaderLen || len(data) < virtionet.MinFrame || len(data) > 0xffff {
			return
		}
		in, fr := &virtionet.HeaderParser{}, virtionet.Frame{Data: [][]byte{data}, Len: len(data)}
		if n := int(cut) % len(data); n > 0 {
			fr.Data = [][]byte{data[:n:n], data[n:]}
		}
		if !in.Parse(0, &fr, (*[virtionet.LegacyHeaderLen]byte)(raw), virtionet.Offloads(sends)) {
			return
		}
		if err := checkFinished(&fr, data, virtionet.Offloads(takes)); err != nil {
			t.Error(err)
		}
	})
}

// checkFinished finishes a frame with these data for a port and checks what comes out.
func checkFinished(f *virtionet.Frame, data []byte, takes virtionet.Offloads) error {
	var gso virtionet.SoftwareGSO
	var c virtionet.Counters
	if !bytes.Equal(vringtest.Join(f.Data), data) {
		return fmt.Errorf("the frame was changed")
	}
	if !gso.Begin(f, takes, 1518) {
		if longest := int(f.Layout().End) + int(f.Header.GSOSize); f.Header.IsGSO() && longest <= 1518 || !f.Header.IsGSO() && f.Len <= 1518 {
			return fmt.Errorf("refused: %+v", f.Header)
		}
		return nil
	}
	h, end, pieces := f.Header, int(f.Layout().End), 0
	var rest []byte
	next := func() *virtionet.Frame { gso.Sent(&c); return gso.Next(&c) }
	for o := gso.Next(&c); o != nil; o = next() {
		out := vringtest.Join(o.Data)
		if pieces++; len(out) != o.Len || pieces > virtionet.MaxPieces {
			return fmt.Errorf("piece %d has %d bytes, says %d", pieces, len(out), o.Len)
		}
		if oh := o.Header; oh.Flags&virtionet.FlagNeedsCsum != 0 && takes&virtionet.OffloadCsum == 0 || oh.Flags&virtionet.FlagDataValid != 0 && takes&virtionet.OffloadDataValid == 0 ||
			oh.GSOType != 0 && oh.GSOOffloads(f.Layout().IPv6)&^takes != 0 {
			return fmt.Errorf("header %+v for one that takes %#x", oh, takes)
		}
		if h.Flags&virtionet.FlagNeedsCsum != 0 && o.Header.Flags == 0 {
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
		if h.GSOType == virtionet.GSONone || o.Header.GSOType != virtionet.GSONone {
			if len(out) != len(data) {
				return fmt.Errorf("%d bytes of %d", len(out), len(data))
			}
			if h.Flags&virtionet.FlagNeedsCsum == 0 || o.Header.Flags != 0 {
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
	if h.GSOType != virtionet.GSONone && len(rest) != len(data) {
		rest = append(append([]byte{}, data[:end]...), rest...)
	}
	if !bytes.Equal(rest, data) || !bytes.Equal(vringtest.Join(f.Data), data) {
		return fmt.Errorf("what came out is not what went in")
	}
	return nil
}

// What newer kernels say of large segments in a UDP tunnel, for which a header has to be negotiated that we have not: the types are refused
// whatever else stands in the header and whoever sends it, and so is the type of what is in the tunnel, which is not true of the frame.
func TestTunnelTypesAreRefused(t *testing.T) {
	const (
		tunnelIPv4, tunnelIPv6 = 0x20, 0x40 // VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 and _IPV6
		tunnelSum              = 8          // VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM
	)
	outer := packettest.Shapes(t, 8)[2] // a datagram with VXLAN's header
	if outer.Name != "udp4" {
		t.Fatalf("the shape is %s", outer.Name)
	}
	for _, shape := range packettest.Shapes(t, 3000) {
		tunnelled := append(bytes.Clone(outer.Frame), shape.Unfinished()...)
		length := len(tunnelled) - int(outer.Layout.L3)
		binary.BigEndian.PutUint16(tunnelled[outer.Layout.L3+2:], uint16(length))
		binary.BigEndian.PutUint16(tunnelled[outer.Layout.L4+4:], uint16(length-20))
		for _, c := range []struct {
			name    string
			frame   []byte
			inner   int // where the packet in the tunnel begins
			types   []uint8
			accepts bool
		}{
			{"in no tunnel", shape.Unfinished(), 0, []uint8{0}, true},
			{"in no tunnel, says it is", shape.Unfinished(), 0, []uint8{tunnelIPv4, tunnelIPv6, tunnelIPv4 | tunnelIPv6, tunnelIPv4 | virtionet.GSOECN}, false},
			{"in a tunnel", tunnelled, len(outer.Frame), []uint8{0, tunnelIPv4, tunnelIPv6, tunnelIPv4 | tunnelIPv6, tunnelIPv6 | virtionet.GSOECN}, false},
		} {
			for _, more := range c.types {
				for _, flags := range []uint8{0, tunnelSum} {
					h := nettest.GSOHeader(shape, 1000)
					h.GSOType |= more
					h.Flags |= flags
					h.CsumStart += uint16(c.inner)
					h.HdrLen += uint16(c.inner)
					var raw [virtionet.HeaderLen]byte
					h.Put(&raw)
					f := virtionet.Frame{Data: [][]byte{c.frame}, Len: len(c.frame)}
					may := nettest.AllOffloads | virtionet.OffloadDataValid
					if ok := new(virtionet.HeaderParser).Parse(0, &f, (*[virtionet.LegacyHeaderLen]byte)(raw[:]), may); ok != c.accepts {
						t.Errorf("%s %s, %+v: accepted: %v, %+v", shape.Name, c.name, h, ok, f.Header)
					}
					var b virtionet.Burst
					b.Reset()
					b.Add(virtionet.AddressOf(c.frame), uint32(len(c.frame)))
					if ok := b.Inspect(0, virtionet.AddressOf(raw[:]), may); ok != c.accepts {
						t.Errorf("%s %s, %+v: accepted in a burst: %v", shape.Name, c.name, h, ok)
					}
				}
			}
		}
	}
}
