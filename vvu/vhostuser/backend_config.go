package vhostuser

import "vvufwd/virtio"

// Limits that hold whatever is configured.
const (
	// MaxRings is how many ring indexes exist: KICK and CALL carry one byte.
	MaxRings = 256
	// MaxQueueSize is the largest ring (virtio 2.7).
	MaxQueueSize = 32768
	// DefaultMaxRegions is the size of a memory table that every front-end copes
	// with and that the QEMU fork's device enforces.
	DefaultMaxRegions = 8
	// LimitMaxRegions is the largest number of regions. It is what libvhost-user has, and
	// QEMU gives a machine no more than a few besides.
	LimitMaxRegions = 509
)

// BackendConfig is what a back-end offers. The zero value of each field is
// usable and means what its comment says.
type BackendConfig struct {
	// Features are the virtio features offered. VHOST_USER_F_PROTOCOL_FEATURES
	// (bit 30) is always added, VIRTIO_NET_F_MAC if and only if there is a MAC,
	// VIRTIO_NET_F_MTU if MTU is set or Protocol has ProtoMTU (see Backend.offered), and
	// VHOST_F_LOG_ALL if and only if Protocol has ProtoLogShmFD.
	Features virtio.Features

	// Protocol are the protocol features offered. Bits outside SupportedProtocol
	// are dropped. A message that belongs to a protocol feature is refused as a
	// violation unless the feature is offered.
	Protocol ProtocolFeatures

	// Rings is how many rings are served: two per queue pair and perhaps one for the
	// control queue, at most MaxRings; 0 means 2. State of rings beyond is kept (a
	// front-end may set up more than we serve) but has no effects. GET_QUEUE_NUM
	// answers this number, which suits front-ends that count pairs (QEMU), rings
	// without the control queue (cloud-hypervisor), and all rings (crosvm).
	Rings int

	// MaxRegions bounds the memory table; 0 means DefaultMaxRegions.
	MaxRegions int

	// MaxMemory bounds the bytes of all regions together; 0 is no bound.
	MaxMemory uint64

	// MaxQueueSize bounds SET_VRING_NUM; 0 means the protocol's limit.
	MaxQueueSize int

	// MTU is announced in the configuration space and is the largest value that
	// NET_SET_MTU may set; 0 means none is announced and any that the virtio
	// specification allows is accepted.
	MTU uint16

	// MAC is the address in the configuration space; zero means that there is none,
	// and none is offered. The guest can set another one unless FixedMAC is true.
	MAC      [6]byte
	FixedMAC bool

	// PassesFDs says that the transport carries file descriptors: their number is
	// then checked against the message. It is false for virtio-vhost-user, where
	// doorbells and the BAR take their place.
	PassesFDs bool
}

// withDefaults fills in the defaults and cuts everything to its limits.
func (c BackendConfig) withDefaults() BackendConfig {
	c.Features |= virtio.ProtocolFeatures
	c.Protocol &= SupportedProtocol
	c.Features &^= virtio.NetMTU | virtio.LogAll
	if c.Protocol.Has(ProtoLogShmFD) {
		c.Features |= virtio.LogAll
	}
	if c.MTU != 0 || c.Protocol.Has(ProtoMTU) {
		c.Features |= virtio.NetMTU
	}
	c.Features &^= virtio.NetMAC
	if c.MAC != [6]byte{} {
		c.Features |= virtio.NetMAC
	}
	c.Rings = boundedOr(c.Rings, 2, MaxRings)
	c.MaxRegions = boundedOr(c.MaxRegions, DefaultMaxRegions, LimitMaxRegions)
	c.MaxQueueSize = boundedOr(c.MaxQueueSize, MaxQueueSize, MaxQueueSize)
	return c
}

// boundedOr returns n, at most limit, or def if n is not positive.
func boundedOr(n, def, limit int) int {
	if n <= 0 {
		return def
	}
	return min(n, limit)
}
