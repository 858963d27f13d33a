package vhostuser

import "encoding/binary"

// minMTU is the smallest MTU that a virtio-net device may announce (virtio 5.1.4.1).
const minMTU = 68

// maxMTU is the largest one: the field has 16 bits.
const maxMTU = 65535

// sendRARP asks for a broadcast that tells switches where the guest now is.
func (b *Backend) sendRARP(m Message, out *outcome) error {
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	const macBits = 1<<48 - 1
	out.effects = append(out.effects, Effect{Kind: EffectAnnounce, Value: uint64(v) & macBits})
	return nil
}

func (b *Backend) netSetMTU(m Message, out *outcome) error {
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	limit := U64(maxMTU)
	if b.cfg.MTU != 0 {
		limit = U64(b.cfg.MTU)
	}
	if v < minMTU || v > limit {
		return refuse(m, "MTU %d, want %d to %d", uint64(v), minMTU, uint64(limit))
	}
	b.mtu = uint16(v)
	binary.LittleEndian.PutUint16(b.config[netConfigMTU:], b.mtu)
	out.effects = append(out.effects, Effect{Kind: EffectMTU, Value: uint64(v)})
	return nil
}

// getConfig reads a piece of the configuration space, wherever it lies: what is beyond
// the structure reads as zero. Its reply carries as many bytes as were asked for, or none
// at all to say that it failed. The question need not bring room for the answer.
func (b *Backend) getConfig(m Message, out *outcome) error {
	offset, size, err := decodeConfigQuestion(m.Payload)
	switch {
	case err != nil:
		return violate(m, "%v", err)
	case size > maxConfigData:
		return refuse(m, "%d bytes of the configuration, at most %d fit a message", size, maxConfigData)
	}
	c := Config{Offset: offset, Flags: configFlags(m.Payload), Data: make([]byte, size)}
	if offset < MaxConfigSize {
		copy(c.Data, b.config[offset:])
	}
	out.answer(m.Request, c)
	return nil
}

// setConfig writes to the configuration space, of which a driver may write only
// the MAC address (virtio 5.1.4; legacy drivers do, byte by byte). Some front-ends send
// all of the space when their guest writes one byte of it (QEMU's generic device), so
// what stays as it is can be anywhere.
func (b *Backend) setConfig(m Message, out *outcome) error {
	var c Config
	if err := c.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	mac := b.config.mac()
	for i, v := range c.Data {
		switch at := uint64(c.Offset) + uint64(i); {
		case at < netConfigStatus:
			mac[at] = v
		case at >= MaxConfigSize && v != 0 || at < MaxConfigSize && v != b.config[at]:
			return refuse(m, "byte %d of the configuration is read-only", at)
		}
	}
	if mac == b.config.mac() {
		return nil
	}
	if !b.SetMAC(mac) {
		return refuse(m, "the address of the device is fixed")
	}
	out.add(EffectConfig, 0)
	return nil
}

// resetDevice takes rings, features and device status back to where a session
// begins. Owner, protocol features and memory stay.
func (b *Backend) resetDevice(_ Message, out *outcome) error {
	if b.features != 0 {
		b.accept(0)
		b.strayFeatures = 0
		out.add(EffectFeatures, 0)
	}
	for i := range b.rings {
		b.halt(out, uint32(i))
		b.rings[i] = ring{}
	}
	b.status = 0
	b.mtu, b.config = b.cfg.MTU, newNetConfig(b.cfg)
	return nil
}

// setStatus stores the device status for getStatus; only its low byte exists.
// Rings follow from their own messages, but for 0: the guest has reset its device, and whatever their memory is
// now, it is no rings. QEMU stops them before it says so, up to 8.0 right after, and is told where they stood;
// alioth stops none.
func (b *Backend) setStatus(m Message, out *outcome) error {
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	if v > 0xff {
		return refuse(m, "device status %#x has more than 8 bits", uint64(v))
	}
	b.status = uint8(v)
	if v != 0 {
		return nil
	}
	for i := range b.rings {
		b.halt(out, uint32(i))
		b.rings[i].haveAddr = false
	}
	return nil
}

func (b *Backend) getStatus(m Message, out *outcome) error {
	out.answer(m.Request, U64(b.status))
	return nil
}
