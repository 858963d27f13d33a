package vhostuser

import "vvufwd/virtio"

const virtioUserWants = ProtoMQ | ProtoReplyAck | ProtoStatus

const (
	virtioUserFeaturesOK = virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK
	virtioUserDriverOK   = virtioUserFeaturesOK | virtio.StatusDriverOK
)

// virtioUserConnect is DPDK virtio-user at probe time (contract 4.7).
func virtioUserConnect(f *Frontend) {
	f.tell(SetOwner, nil)
	virtioUserNegotiate(f)
}

func virtioUserNegotiate(f *Frontend) {
	f.getFeatures()
	f.protocolFeatures()
}

// virtioUserReconnect is its server mode when a back-end connects again. It
// opens with the end of the old session and sends no SET_OWNER.
func virtioUserReconnect(f *Frontend) {
	protocol := f.protocol
	f.protocol = 0 // nothing has been negotiated with this back-end
	virtioUserStop(f)
	f.protocol = protocol
	virtioUserNegotiate(f)
}

func virtioUserStart(f *Frontend) {
	// Receive queues first, then transmit queues.
	for i := 0; i < len(f.cfg.Rings); i += 2 {
		f.call(i)
	}
	for i := 1; i < len(f.cfg.Rings); i += 2 {
		f.call(i)
	}
	f.setFeatures()
	virtioUserStatus(f, virtioUserFeaturesOK)
	if f.protocol.Has(ProtoStatus) {
		f.ask(GetStatus)
		f.ask(GetStatus)
	}
	f.setMemTable()
	for i := range f.cfg.Rings {
		f.num(i)
		f.setBase(i)
		f.addr(i)
		f.kick(i)
	}
	f.enable(0, true)
	f.enable(1, true)
	virtioUserStatus(f, virtioUserDriverOK)
	for i := 2; i < len(f.cfg.Rings); i++ {
		f.enable(i, true) // other pairs follow the number of queues in use
	}
}

func virtioUserStop(f *Frontend) {
	for i := range f.cfg.Rings {
		f.enable(i, false)
	}
	stopInOrder(f)
}

func virtioUserStatus(f *Frontend, status uint8) {
	if f.protocol.Has(ProtoStatus) {
		f.confirm(SetStatus, U64(status))
	}
}
