package vhostuser

// A front-end that negotiated INFLIGHT_SHMFD asks for memory in which a back-end remembers
// what it has in its hands (GET_INFLIGHT_FD), keeps it, and gives it to each back-end that
// serves the device, also to the one that has just made it (SET_INFLIGHT_FD).

// getInflightFD leaves the answer to the caller, who has the memory made: see
// EffectInflightNew.
func (b *Backend) getInflightFD(m Message, out *outcome) error {
	v, err := b.inflight(m, 0)
	if err != nil {
		return err
	}
	b.tracking = v
	out.add(EffectInflightNew, 0)
	return nil
}

func (b *Backend) setInflightFD(m Message, out *outcome) error {
	v, err := b.inflight(m, 1)
	if err != nil {
		return err
	}
	if v.Size == 0 || v.Offset+v.Size < v.Size {
		return violate(m, "tracking memory of %d bytes at offset %#x", v.Size, v.Offset)
	}
	b.tracking = v
	out.add(EffectInflight, 0)
	return nil
}

func (b *Backend) inflight(m Message, files int) (v Inflight, err error) {
	if err := v.Decode(m.Payload); err != nil {
		return v, violate(m, "%v", err)
	}
	switch {
	case b.cfg.PassesFDs && len(m.FDs) != files:
		return v, violate(m, "carries %d file descriptors, want %d", len(m.FDs), files)
	case v.Queues == 0 || v.QueueSize == 0:
		return v, refuse(m, "%d rings of %d entries", v.Queues, v.QueueSize)
	case int(v.Queues) > b.cfg.Rings || int(v.QueueSize) > b.cfg.MaxQueueSize:
		return v, refuse(m, "%d rings of %d entries, at most %d of %d are supported", v.Queues, v.QueueSize, b.cfg.Rings, b.cfg.MaxQueueSize)
	}
	return v, nil
}

// Inflight is what the last GET_INFLIGHT_FD or SET_INFLIGHT_FD said.
func (b *Backend) Inflight() Inflight { return b.tracking }

// InflightReply builds the answer to GET_INFLIGHT_FD, with the file that has
// the memory. It stays the caller's.
func (b *Backend) InflightReply(size uint64, fd int) Message {
	m := NewReply(GetInflightFD, Inflight{Size: size, Queues: b.tracking.Queues, QueueSize: b.tracking.QueueSize})
	m.FDs = []int{fd}
	return m
}
