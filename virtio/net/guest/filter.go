package guest

import (
	"encoding/binary"

	virtionet "vvufwd/virtio/net"
)

// Filter is which frames a guest wants to receive: what a network card does for its
// driver (5.1.6.5.1 to 5.1.6.5.3). It is never changed, so that those who build it and
// those who use it need no lock.
type Filter struct {
	// Of each kind of destination address: none, all, or those in Addresses.
	NoUnicast, NoMulticast, NoBroadcast bool
	AllUnicast, AllMulticast            bool
	Addresses                           map[Station]struct{}

	// VLANs are those whose frames are wanted, a bit each. Frames without a VLAN tag, or
	// with one that only has a priority, always are. Nil: all are.
	VLANs *VLANSet
}

// Station is an Ethernet address in the low 48 bits, its first byte lowest.
type Station uint64

// StationOf makes a Station of an address.
func StationOf(mac [6]byte) Station {
	return Station(binary.LittleEndian.Uint32(mac[:])) | Station(binary.LittleEndian.Uint16(mac[4:]))<<32
}

const (
	stationBits Station = 1<<48 - 1
	broadcast           = stationBits
)

// IsGroup reports whether s is a multicast or the broadcast address.
func (s Station) IsGroup() bool { return s&1 != 0 }

// MaxVLANs is the number of VLAN ids, of which 0 is none.
const MaxVLANs = 4096

// VLANSet is a set of VLAN ids below MaxVLANs.
type VLANSet [MaxVLANs / 64]uint64

// Add adds an id.
func (v *VLANSet) Add(id uint16) { v[id/64] |= 1 << (id % 64) }

// Remove removes an id.
func (v *VLANSet) Remove(id uint16) { v[id/64] &^= 1 << (id % 64) }

// Has reports whether an id is in the set.
func (v *VLANSet) Has(id uint16) bool { return v[id/64]&(1<<(id%64)) != 0 }

// wants reports whether the guest wants a frame, which is MinFrame long at least. Its
// sender may be changing it: then the guest gets, or misses, one that it did not expect,
// as it may with any card.
func (f *Filter) wants(frame *virtionet.Frame) bool {
	const (
		tagged  = 16 // bytes up to the end of a VLAN tag's id
		vlanTag = 0x8100
		idBits  = MaxVLANs - 1
	)
	var head [tagged]byte
	n := 0
	for _, piece := range frame.Data {
		if n += copy(head[n:], piece); n == len(head) {
			break
		}
	}
	if f.VLANs != nil && n == tagged && binary.BigEndian.Uint16(head[virtionet.AddressBytes:]) == vlanTag {
		if id := binary.BigEndian.Uint16(head[virtionet.AddressBytes+2:]) & idBits; id != 0 && !f.VLANs.Has(id) {
			return false
		}
	}
	to := Station(binary.LittleEndian.Uint64(head[:])) & stationBits
	none, all := f.NoUnicast, f.AllUnicast
	switch {
	case to == broadcast:
		return !f.NoBroadcast
	case to.IsGroup():
		none, all = f.NoMulticast, f.AllMulticast
	}
	if none || all {
		return !none
	}
	_, wanted := f.Addresses[to]
	return wanted
}
