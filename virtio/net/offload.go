package virtionet

import "vvufwd/virtio"

// Offloads are what whoever sends frames over a ring may leave undone in them.
type Offloads uint8

// Kinds of unfinished frames.
const (
	OffloadCsum      Offloads = 1 << iota // a checksum to be completed
	OffloadTSO4                           // TCP over IPv4, to be cut into segments
	OffloadTSO6                           // TCP over IPv6
	OffloadECN                            // such TCP with congestion notification
	OffloadUSO4                           // UDP over IPv4, to be cut into datagrams
	OffloadUSO6                           // UDP over IPv6
	OffloadDataValid                      // nothing is undone, but the sender may say that checksums are right

	OffloadGSO = OffloadTSO4 | OffloadTSO6 | OffloadECN | OffloadUSO4 | OffloadUSO6
)

// OffloadsToDevice are what a driver may leave to its device under the negotiated
// features. All else needs CSUM (5.1.3.1).
func OffloadsToDevice(f virtio.Features) Offloads {
	return offloads(f, []offloadBit{
		{virtio.NetCsum, OffloadCsum}, {virtio.NetHostTSO4, OffloadTSO4}, {virtio.NetHostTSO6, OffloadTSO6},
		{virtio.NetHostECN, OffloadECN}, {virtio.NetHostUSO, OffloadUSO4 | OffloadUSO6},
	})
}

// OffloadsToDriver are what a device may leave to its driver under the negotiated
// features. All else needs GUEST_CSUM (5.1.3.1).
func OffloadsToDriver(f virtio.Features) Offloads {
	return offloads(f, []offloadBit{
		{virtio.NetGuestCsum, OffloadCsum | OffloadDataValid}, {virtio.NetGuestTSO4, OffloadTSO4}, {virtio.NetGuestTSO6, OffloadTSO6},
		{virtio.NetGuestECN, OffloadECN}, {virtio.NetGuestUSO4, OffloadUSO4}, {virtio.NetGuestUSO6, OffloadUSO6},
	})
}

type offloadBit struct {
	feature  virtio.Features
	offloads Offloads
}

// offloads translates features; the first bit is the one that the others need.
func offloads(f virtio.Features, bits []offloadBit) (o Offloads) {
	if !f.Has(bits[0].feature) {
		return 0
	}
	for _, b := range bits {
		if f.Has(b.feature) {
			o |= b.offloads
		}
	}
	return o
}

// Flags and types of a Header (5.1.6). GSOECN is a bit beside the type.
const (
	FlagNeedsCsum uint8 = 1
	FlagDataValid uint8 = 2

	GSONone  uint8 = 0
	GSOTCPv4 uint8 = 1
	GSOTCPv6 uint8 = 4
	GSOUDP   uint8 = 5 // datagrams, not the older UFO
	GSOECN   uint8 = 0x80
	gsoTypes uint8 = ^GSOECN
)

// Special reports whether the header says anything about its frame.
func (h *Header) Special() bool { return h.Flags|h.GSOType != 0 }

// IsGSO reports whether the frame is to be cut into segments.
func (h *Header) IsGSO() bool { return h.GSOType != GSONone }

// gsoOffloads are what a frame with the header's type needs, of IPv6 or not. It is 0 if
// there is no such type.
func (h *Header) gsoOffloads(ipv6 bool) (o Offloads) {
	switch {
	case h.GSOType&gsoTypes == GSOTCPv4 && !ipv6:
		o = OffloadTSO4
	case h.GSOType&gsoTypes == GSOTCPv6 && ipv6:
		o = OffloadTSO6
	case h.GSOType == GSOUDP && !ipv6:
		return OffloadUSO4
	case h.GSOType == GSOUDP && ipv6:
		return OffloadUSO6
	default:
		return 0
	}
	if h.GSOType&GSOECN != 0 {
		o |= OffloadECN
	}
	return o
}
