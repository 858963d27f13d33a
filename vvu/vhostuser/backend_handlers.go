package vhostuser

import "vvufwd/virtio"

// anySize marks a request whose handler checks the payload's size.
const anySize = -1

// handler is what is known about a request before its meaning matters.
type handler struct {
	size  int              // of the payload in bytes, or anySize
	fds   bool             // may bring file descriptors
	needs ProtocolFeatures // must have been offered
	do    func(*Backend, Message, *outcome) error
}

// handlers lists every request that is understood.
var handlers = map[Request]handler{
	GetFeatures:         {size: 0, do: (*Backend).getFeatures},
	SetFeatures:         {size: U64Size, do: (*Backend).setFeatures},
	SetOwner:            {size: 0, do: (*Backend).setOwner},
	ResetOwner:          {size: 0, do: ignore},
	GetProtocolFeatures: {size: 0, do: (*Backend).getProtocolFeatures},
	SetProtocolFeatures: {size: U64Size, do: (*Backend).setProtocolFeatures},
	GetQueueNum:         {size: 0, do: (*Backend).getQueueNum},

	SetMemTable:    {size: anySize, fds: true, do: (*Backend).setMemTable},
	GetMaxMemSlots: {size: 0, needs: ProtoConfigureMemSlots, do: (*Backend).getMaxMemSlots},
	AddMemReg:      {size: SingleRegionSize, fds: true, needs: ProtoConfigureMemSlots, do: (*Backend).addMemReg},
	RemMemReg:      {size: SingleRegionSize, fds: true, needs: ProtoConfigureMemSlots, do: (*Backend).remMemReg},

	SetLogBase: {size: LogSize, fds: true, needs: ProtoLogShmFD, do: (*Backend).setLogBase},
	SetLogFD:   {size: anySize, fds: true, needs: ProtoLogShmFD, do: (*Backend).setLogFD},

	GetInflightFD: {size: anySize, needs: ProtoInflightShmFD, do: (*Backend).getInflightFD},
	SetInflightFD: {size: anySize, fds: true, needs: ProtoInflightShmFD, do: (*Backend).setInflightFD},

	SetVringNum:    {size: VringStateSize, do: (*Backend).setVringNum},
	SetVringAddr:   {size: VringAddrSize, do: (*Backend).setVringAddr},
	SetVringBase:   {size: VringStateSize, do: (*Backend).setVringBase},
	GetVringBase:   {size: VringStateSize, do: (*Backend).getVringBase},
	SetVringKick:   {size: U64Size, fds: true, do: (*Backend).setVringKick},
	SetVringCall:   {size: U64Size, fds: true, do: (*Backend).setVringCall},
	SetVringErr:    {size: U64Size, fds: true, do: ignore}, // we report errors in the log
	SetVringEnable: {size: VringStateSize, do: (*Backend).setVringEnable},
	SetVringEndian: {size: VringStateSize, needs: ProtoCrossEndian, do: (*Backend).setVringEndian},

	SendRARP:    {size: U64Size, needs: ProtoRARP, do: (*Backend).sendRARP},
	NetSetMTU:   {size: U64Size, needs: ProtoMTU, do: (*Backend).netSetMTU},
	GetConfig:   {size: anySize, do: (*Backend).getConfig}, // crosvm asks whatever was negotiated
	SetConfig:   {size: anySize, do: (*Backend).setConfig},
	ResetDevice: {size: 0, needs: ProtoResetDevice, do: (*Backend).resetDevice},
	SetStatus:   {size: U64Size, needs: ProtoStatus, do: (*Backend).setStatus},
	GetStatus:   {size: 0, needs: ProtoStatus, do: (*Backend).getStatus},
}

// ignore accepts a message that needs nothing done. RESET_OWNER is one: the
// protocol text recommends that, since its meaning was never agreed on.
func ignore(*Backend, Message, *outcome) error { return nil }

// getFeatures may come at any time; QEMU uses it as a barrier.
func (b *Backend) getFeatures(m Message, out *outcome) error {
	out.answer(m.Request, U64(b.offered()))
	return nil
}

// setFeatures may come again at any time: once per queue pair, and when a
// front-end toggles logging.
func (b *Backend) setFeatures(m Message, out *outcome) error {
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	before := b.features
	b.accept(virtio.Features(v) & b.cfg.Features)
	b.strayFeatures = virtio.Features(v) &^ b.cfg.Features
	if b.features == before {
		return nil
	}
	if b.features^before == virtio.LogAll { // QEMU and others, while rings run
		out.add(EffectLogging, 0)
		return nil
	}
	out.add(EffectFeatures, 0)
	for i := range b.cfg.Rings {
		was, is := b.rings[i].state(before), b.rings[i].state(b.features)
		if was.Ready != is.Ready || is.Ready && was.Enabled != is.Enabled {
			out.add(EffectRing, i)
		}
	}
	return nil
}

// accept puts features in force. A front-end that does not want writes marked any more lets
// go of its log: it sends one when it wants them marked again.
func (b *Backend) accept(f virtio.Features) {
	if b.Logging() && !f.Has(virtio.LogAll) {
		b.log, b.haveLog = Log{}, false
	}
	b.features = f
}

// setOwner starts a session if the last one may have ended; see Backend.
func (b *Backend) setOwner(_ Message, out *outcome) error {
	if b.doubtful || b.fault != nil {
		old := *b
		b.Reset()
		if old.protocolFresh {
			b.protocol, b.strayProtocol, b.protocolSet = old.protocol, old.strayProtocol, true
		}
		out.add(EffectReset, 0)
	}
	return nil
}

func (b *Backend) getProtocolFeatures(m Message, out *outcome) error {
	out.answer(m.Request, U64(b.cfg.Protocol))
	return nil
}

func (b *Backend) setProtocolFeatures(m Message, _ *outcome) error {
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	b.protocol = ProtocolFeatures(v) & b.cfg.Protocol
	b.strayProtocol = ProtocolFeatures(v) &^ b.cfg.Protocol
	b.protocolSet, b.protocolFresh = true, true
	return nil
}

func (b *Backend) getQueueNum(m Message, out *outcome) error {
	out.answer(m.Request, U64(b.cfg.Rings))
	return nil
}
