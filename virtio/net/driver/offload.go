package driver

import (
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
)

// WantedOffloads are those that a Port can use with a device that offers these
// features and with that many entries in its receive ring. A device may only merge
// segments if the buffers can hold what it makes of them.
func WantedOffloads(offered virtio.Features, rxSize int) virtio.Features {
	want := virtio.NetOffloads
	if !offered.Has(virtio.NetMrgRxbuf) || rxSize*smallBuffer < virtionet.HeaderLen+virtionet.MaxFrame {
		want &^= virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN | virtio.NetGuestUSO4 | virtio.NetGuestUSO6
	}
	return withoutOrphans(offered & want)
}

// withoutOrphans takes away the features that lack one on which they rely (5.1.3.1); a
// driver must not ask for those.
func withoutOrphans(f virtio.Features) virtio.Features {
	const (
		hostTSO  = virtio.NetHostTSO4 | virtio.NetHostTSO6
		guestTSO = virtio.NetGuestTSO4 | virtio.NetGuestTSO6
	)
	if !f.Has(virtio.NetCsum) {
		f &^= hostTSO | virtio.NetHostUSO
	}
	if !f.Has(virtio.NetGuestCsum) {
		f &^= guestTSO | virtio.NetGuestUSO4 | virtio.NetGuestUSO6
	}
	if f&hostTSO == 0 {
		f &^= virtio.NetHostECN
	}
	if f&guestTSO == 0 {
		f &^= virtio.NetGuestECN
	}
	return f
}
