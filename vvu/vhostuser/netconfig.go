package vhostuser

import "encoding/binary"

// Offsets of struct virtio_net_config (virtio 5.1.4), all little-endian.
const (
	netConfigMAC      = 0
	netConfigStatus   = 6
	netConfigMaxPairs = 8
	netConfigMTU      = 10
	netConfigSpeed    = 12
	netConfigDuplex   = 16

	netStatusLinkUp = 1
	speedUnknown    = 0xffffffff
	duplexUnknown   = 0xff
)

// netConfig is the configuration space of a virtio-net device; what lies beyond
// the structure reads as zero.
type netConfig [MaxConfigSize]byte

func newNetConfig(cfg BackendConfig) (c netConfig) {
	copy(c[netConfigMAC:], cfg.MAC[:])
	binary.LittleEndian.PutUint16(c[netConfigStatus:], netStatusLinkUp)
	binary.LittleEndian.PutUint16(c[netConfigMaxPairs:], uint16(max(1, cfg.Rings/2)))
	binary.LittleEndian.PutUint16(c[netConfigMTU:], cfg.MTU)
	binary.LittleEndian.PutUint32(c[netConfigSpeed:], speedUnknown)
	c[netConfigDuplex] = duplexUnknown
	return c
}

func (c *netConfig) mac() (mac [6]byte) {
	copy(mac[:], c[netConfigMAC:])
	return mac
}
