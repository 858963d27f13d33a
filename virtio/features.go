// Package virtio holds the numbers that every virtio driver and device shares:
// feature bits, device ids and the device status byte, named as in the virtio
// specification (1.3).
package virtio

import (
	"fmt"
	"math/bits"
	"strings"
)

// Features is a set of virtio feature bits, one per bit position (2.2).
type Features uint64

// Feature bits of a network device (5.1.3).
const (
	NetCsum          Features = 1 << 0
	NetGuestCsum     Features = 1 << 1
	NetCtrlGuestOffl Features = 1 << 2
	NetMTU           Features = 1 << 3
	NetMAC           Features = 1 << 5
	NetGuestTSO4     Features = 1 << 7
	NetGuestTSO6     Features = 1 << 8
	NetGuestECN      Features = 1 << 9
	NetGuestUFO      Features = 1 << 10
	NetHostTSO4      Features = 1 << 11
	NetHostTSO6      Features = 1 << 12
	NetHostECN       Features = 1 << 13
	NetHostUFO       Features = 1 << 14
	NetMrgRxbuf      Features = 1 << 15
	NetStatus        Features = 1 << 16
	NetCtrlVQ        Features = 1 << 17
	NetCtrlRX        Features = 1 << 18
	NetCtrlVLAN      Features = 1 << 19
	NetCtrlRXExtra   Features = 1 << 20
	NetGuestAnnounce Features = 1 << 21
	NetMQ            Features = 1 << 22
	NetCtrlMACAddr   Features = 1 << 23
	NetGuestUSO4     Features = 1 << 54
	NetGuestUSO6     Features = 1 << 55
	NetHostUSO       Features = 1 << 56
)

// Feature bits of rings and transports (6), and the two that only vhost knows.
const (
	NotifyOnEmpty    Features = 1 << 24 // legacy
	LogAll           Features = 1 << 26 // vhost: dirty logging
	AnyLayout        Features = 1 << 27 // legacy
	IndirectDesc     Features = 1 << 28
	EventIdx         Features = 1 << 29
	ProtocolFeatures Features = 1 << 30 // vhost-user: protocol feature negotiation
	Version1         Features = 1 << 32
	AccessPlatform   Features = 1 << 33
	RingPacked       Features = 1 << 34
	InOrder          Features = 1 << 35
	OrderPlatform    Features = 1 << 36
	RingReset        Features = 1 << 40
)

var featureNames = map[Features]string{
	NetCsum: "CSUM", NetGuestCsum: "GUEST_CSUM", NetCtrlGuestOffl: "CTRL_GUEST_OFFLOADS", NetMTU: "MTU", NetMAC: "MAC",
	NetGuestTSO4: "GUEST_TSO4", NetGuestTSO6: "GUEST_TSO6", NetGuestECN: "GUEST_ECN", NetGuestUFO: "GUEST_UFO",
	NetHostTSO4: "HOST_TSO4", NetHostTSO6: "HOST_TSO6", NetHostECN: "HOST_ECN", NetHostUFO: "HOST_UFO",
	NetMrgRxbuf: "MRG_RXBUF", NetStatus: "STATUS", NetCtrlVQ: "CTRL_VQ", NetCtrlRX: "CTRL_RX",
	NetCtrlVLAN: "CTRL_VLAN", NetCtrlRXExtra: "CTRL_RX_EXTRA",
	NetGuestAnnounce: "GUEST_ANNOUNCE", NetMQ: "MQ", NetCtrlMACAddr: "CTRL_MAC_ADDR",
	NetGuestUSO4: "GUEST_USO4", NetGuestUSO6: "GUEST_USO6", NetHostUSO: "HOST_USO",
	NotifyOnEmpty: "NOTIFY_ON_EMPTY", LogAll: "LOG_ALL", AnyLayout: "ANY_LAYOUT", IndirectDesc: "INDIRECT_DESC", EventIdx: "EVENT_IDX",
	ProtocolFeatures: "PROTOCOL_FEATURES", Version1: "VERSION_1", AccessPlatform: "ACCESS_PLATFORM",
	RingPacked: "RING_PACKED", InOrder: "IN_ORDER", OrderPlatform: "ORDER_PLATFORM", RingReset: "RING_RESET",
}

// NetOffloads are the features by which one end of a network device leaves checksums
// and the cutting of large segments to the other.
const NetOffloads = NetCsum | NetHostTSO4 | NetHostTSO6 | NetHostECN | NetHostUSO |
	NetGuestCsum | NetGuestTSO4 | NetGuestTSO6 | NetGuestECN | NetGuestUSO4 | NetGuestUSO6

// Has reports whether all bits of want are in f.
func (f Features) Has(want Features) bool { return f&want == want }

// String names the known bits and numbers the others: "EVENT_IDX|VERSION_1|bit38".
func (f Features) String() string {
	if f == 0 {
		return "none"
	}
	var names []string
	for rest := f; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		name, ok := featureNames[bit]
		if !ok {
			name = fmt.Sprintf("bit%d", bits.TrailingZeros64(uint64(bit)))
		}
		names = append(names, name)
	}
	return strings.Join(names, "|")
}

// Device status bits (2.1).
const (
	StatusAcknowledge uint8 = 0x01
	StatusDriver      uint8 = 0x02
	StatusDriverOK    uint8 = 0x04
	StatusFeaturesOK  uint8 = 0x08
	StatusNeedsReset  uint8 = 0x40
	StatusFailed      uint8 = 0x80
)

// PCI identity of virtio devices (4.1.2). Modern device ids are
// ModernIDBase + virtio device id; transitional ones lie in 0x1000..0x103f and
// keep the virtio device id in the subsystem id.
const (
	PCIVendor    uint16 = 0x1af4
	ModernIDBase uint16 = 0x1040

	// NoVector is the MSI-X vector number that means "no interrupt" (4.1.5.1.2).
	NoVector uint16 = 0xffff
)

// Virtio device ids (5). VhostUser is the number the virtio-vhost-user draft
// took; the official registry has since given 24 to the memory device.
const (
	DeviceNet       uint16 = 1
	DeviceVhostUser uint16 = 24
)
