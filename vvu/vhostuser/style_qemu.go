package vhostuser

import "vvufwd/virtio"

const (
	qemuWants = qemuOldWants | ProtoConfigureMemSlots | ProtoResetDevice | ProtoStatus
	// qemuOldWants leaves out RESET_DEVICE and STATUS, which came after 5.2 or are
	// not used by its net device.
	qemuOldWants = ProtoMQ | ProtoRARP | ProtoReplyAck | ProtoMTU | ProtoLogShmFD
)

// qemuConnect is what QEMU does before its guest runs (contract 4.3): once per
// queue pair on the same connection, each pair being a device of its own to it,
// then the reset of virtio-net, which enables the first pair.
func qemuConnect(f *Frontend) {
	for pair := range f.pairs() {
		qemuConnectPair(f, pair)
		for i := 2 * pair; i < 2*pair+2; i++ {
			f.call(i) // the "masked" notifier
			// A notifier that nothing listens to; any descriptor will do.
			f.vringFD(SetVringErr, i, f.cfg.Rings[i].Call)
		}
	}
	if f.protocol.Has(ProtoResetDevice) {
		f.send(NewRequest(ResetDevice, nil))
	}
	for pair := range f.pairs() {
		qemuEnable(f, pair, pair == 0)
	}
}

// qemuConnectPair is the negotiation that all versions have in common.
func qemuConnectPair(f *Frontend, pair int) {
	f.getFeatures()
	f.protocolFeatures()
	if pair == 0 {
		f.getQueueNum()
	}
	if f.protocol.Has(ProtoConfigureMemSlots) {
		f.ask(GetMaxMemSlots)
	}
	if pair == 0 {
		f.tell(SetOwner, nil)
	}
	f.getFeatures()
}

// qemuEnable enables or disables a pair and makes sure that it has happened: QEMU
// 10 waits for the acknowledgement, or asks for the features as a barrier.
func qemuEnable(f *Frontend, pair int, on bool) {
	for i := 2 * pair; i < 2*pair+2; i++ {
		f.confirm(SetVringEnable, enableState(i, on))
		if !f.protocol.Has(ProtoReplyAck) {
			f.getFeatures()
		}
	}
}

// qemuStart follows the guest's DRIVER_OK. The MTU and enabling come first, even
// before the features; the real call descriptor comes after the kick; further
// pairs are enabled when the guest has set the number of pairs that it uses.
func qemuStart(f *Frontend) {
	f.setMTU()
	qemuEnable(f, 0, true)
	for pair := range f.pairs() {
		f.setFeatures()
		qemuAddStatus(f, virtio.StatusFeaturesOK)
		if pair == 0 {
			qemuMemory(f)
		}
		qemuStartRings(f, pair)
	}
	qemuAddStatus(f, virtio.StatusAcknowledge|virtio.StatusDriver|virtio.StatusDriverOK)
	for pair := 1; pair < f.pairs(); pair++ {
		qemuEnable(f, pair, true)
	}
}

// qemuAddStatus sets bits of the device status that the back-end remembers.
func qemuAddStatus(f *Frontend, bits uint8) {
	if !f.protocol.Has(ProtoStatus) {
		return
	}
	if now := f.ask(GetStatus); uint8(now)&bits != bits {
		f.send(NewRequest(SetStatus, U64(now|uint64(bits))))
	}
}

// qemuMemory sends the table, or with memory slots each region that the back-end
// does not have yet.
func qemuMemory(f *Frontend) {
	if !f.protocol.Has(ProtoConfigureMemSlots) {
		f.setMemTable()
		return
	}
	if f.slots {
		return
	}
	for i, r := range f.cfg.Regions {
		var fds []int
		if i < len(f.cfg.Files) {
			fds = f.cfg.Files[i : i+1]
		}
		f.confirm(AddMemReg, SingleRegion(r), fds...)
	}
	f.slots = true
}

func qemuStartRings(f *Frontend, pair int) {
	for i := 2 * pair; i < 2*pair+2; i++ {
		f.num(i)
		f.setBase(i)
		f.addr(i)
		f.kick(i)
		f.call(i)
	}
}

func qemuStop(f *Frontend) {
	stopInOrder(f)
	if f.protocol.Has(ProtoStatus) {
		f.send(NewRequest(SetStatus, U64(0)))
	}
}

// qemuOldConnect is the same without SET_VRING_ERR and without barriers.
func qemuOldConnect(f *Frontend) {
	for pair := range f.pairs() {
		qemuConnectPair(f, pair)
		f.call(2 * pair)
		f.call(2*pair + 1)
	}
	f.enable(0, true)
	f.enable(1, true)
}

// qemuOldStart enables the rings once they run.
func qemuOldStart(f *Frontend) {
	for pair := range f.pairs() {
		f.setFeatures()
		if pair == 0 {
			f.setMemTable()
		}
		qemuStartRings(f, pair)
	}
	for i := range f.cfg.Rings {
		f.enable(i, true)
	}
}
