package vhostuser

import "vvufwd/virtio"

const (
	cloudHypervisorWants = ProtoMQ | ProtoReplyAck | ProtoConfigureMemSlots | ProtoLogShmFD | ProtoInflightShmFD
	crosvmWants          = ProtoMQ | ProtoConfig
)

// cloudHypervisorConnect is contract 4.5. Once REPLY_ACK is negotiated every
// message asks for an acknowledgement.
func cloudHypervisorConnect(f *Frontend) {
	f.tell(SetOwner, nil)
	f.getFeatures()
	f.protocolFeatures()
	f.askAll = f.protocol.Has(ProtoReplyAck)
	f.getQueueNum()
}

// cloudHypervisorReconnect trusts that a back-end that comes back offers what it
// offered before.
func cloudHypervisorReconnect(f *Frontend) {
	f.tell(SetOwner, nil)
	f.getFeatures()
	f.setProtocolFeatures()
	f.askAll = f.protocol.Has(ProtoReplyAck)
}

// cloudHypervisorStart sets all sizes first, addresses before positions, and no
// call for a ring whose interrupt has no descriptor.
func cloudHypervisorStart(f *Frontend) {
	f.setFeatures()
	f.setMemTable()
	for i := range f.cfg.Rings {
		f.num(i)
	}
	f.track()
	for i := range f.cfg.Rings {
		f.addr(i)
		f.setBase(i)
		if f.cfg.Rings[i].Call >= 0 {
			f.call(i)
		}
		f.kick(i)
	}
	for i := range f.cfg.Rings {
		f.enable(i, true)
	}
}

// crosvmConnect is contract 4.6: features are set once before the protocol
// features are known, and the configuration space is read through the back-end.
func crosvmConnect(f *Frontend) {
	f.tell(SetOwner, nil)
	f.getFeatures()
	f.tell(SetFeatures, U64(f.offered&virtio.ProtocolFeatures))
	f.protocolFeatures()
	f.getQueueNum()
	if f.protocol.Has(ProtoConfig) {
		f.send(NewRequest(GetConfig, Config{Data: make([]byte, netConfigDuplex+1)}))
		f.receive(GetConfig)
	}
}

// crosvmStart enables each ring right after its kick. Positions are always 0.
func crosvmStart(f *Frontend) {
	f.setFeatures()
	f.setMemTable()
	clear(f.base)
	for i := range f.cfg.Rings {
		f.num(i)
		f.addr(i)
		f.setBase(i)
		f.call(i)
		f.kick(i)
		f.enable(i, true)
	}
}
