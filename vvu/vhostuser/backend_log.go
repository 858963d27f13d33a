package vhostuser

import (
	"vvufwd/virtio"
)

// setLogBase takes the dirty log over, a bitmap in a shared file, in place of the one
// before. The answer comes when the data path writes to no other any more: from then on
// the front-end may read the old one for the last time. That answer repeats the payload,
// which is what rust-vmm's front-end insists on; QEMU looks at the request only. Sizes of
// zero say that it failed.
func (b *Backend) setLogBase(m Message, out *outcome) error {
	var l Log
	if err := l.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	switch {
	case b.cfg.PassesFDs && len(m.FDs) != 1:
		return violate(m, "carries %d file descriptors, want 1", len(m.FDs))
	case l.Size == 0 || l.Offset+l.Size < l.Size:
		return violate(m, "a log of %d bytes at offset %#x", l.Size, l.Offset)
	}
	b.log, b.haveLog = l, true
	out.add(EffectLog, 0)
	if m.NeedsReply() && b.protocol.Has(ProtoReplyAck) {
		out.answer(m.Request, U64(0)) // rust-vmm knows of no other reply than an acknowledgement, if it asked for one
	} else {
		out.answer(m.Request, l) // QEMU waits for a reply and looks at no payload
	}
	return nil
}

// setLogFD would bring an eventfd to be signalled when the log has changed. Front-ends
// look at the log when they need it, and the protocol leaves it to us: it is not signalled.
func (b *Backend) setLogFD(m Message, _ *outcome) error {
	if b.cfg.PassesFDs && len(m.FDs) != 1 {
		return violate(m, "carries %d file descriptors, want 1", len(m.FDs))
	}
	return nil
}

// Log returns where the front-end's dirty log is in its file, or false if it has sent
// none since it last had writes marked.
func (b *Backend) Log() (Log, bool) { return b.log, b.haveLog }

// Logging reports whether writes to the guest's memory have to be marked in the log.
func (b *Backend) Logging() bool { return b.features.Has(virtio.LogAll) }

// LogRefused turns the answer to a SET_LOG_BASE into that for a log that cannot be used.
func LogRefused(answer Message) Message {
	if len(answer.Payload) == U64Size {
		return Ack(SetLogBase, 1)
	}
	return NewReply(SetLogBase, Log{})
}
