package session

import (
	"encoding/binary"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// start builds ring i from the addresses that the front-end gave.
func (s *Session) start(i int) error {
	state, features, commands := s.backend.Ring(i), s.backend.Features(), i == s.controlRing()
	cfg := vring.DeviceConfig{
		Size: int(state.Num), Mem: s.memory.Table, Packed: features.Has(virtio.RingPacked),
		EventIdx: features.Has(virtio.EventIdx), Indirect: features.Has(virtio.IndirectDesc), InOrder: features.Has(virtio.InOrder),
		NotifyOnEmpty: features.Has(virtio.NotifyOnEmpty),
		ReadOnly:      i%2 == 1 && !commands, // a transmit ring
	}
	at, err := s.areas(i)
	if err != nil {
		return err
	}
	cfg.Desc, cfg.Avail, cfg.Used = at[0], at[1], at[2]
	if cfg.Track, cfg.Resumed, err = s.tracker(i, cfg); err != nil {
		return err
	}
	if cfg.Packed {
		if cfg.NextAvail, err = s.packedPosition(i, state.Base, cfg); err != nil {
			return err
		}
	} else if cfg.NextAvail, err = s.splitPosition(i, uint16(state.Base), cfg); err != nil {
		return err
	}
	q, err := vring.NewDevice(cfg)
	if err != nil {
		return fmt.Errorf("ring %d: %w", i, err)
	}
	s.rings[i], s.running[i], s.tracked[i] = q, state, cfg.Track != nil
	s.touch(i)
	s.log.Info("ring started", zap.Int("ring", i), zap.Int("size", cfg.Size), zap.Bool("packed", cfg.Packed),
		zap.Uint16("next avail", cfg.NextAvail), zap.Bool("enabled", state.Enabled), zap.Bool("control", commands),
		zap.Bool("tracked", cfg.Track != nil), zap.Bool("resumed", cfg.Resumed))
	if commands {
		s.control.start(s, q, !state.Held && cfg.NextAvail == map[bool]uint16{true: vring.FirstSlot}[cfg.Packed])
	}
	return nil
}

// areas finds the three parts of ring i in the memory that is mapped.
func (s *Session) areas(i int) (at [3]mem.GPA, err error) {
	state, packed := s.backend.Ring(i), s.backend.Features().Has(virtio.RingPacked)
	desc, avail, used := vring.Areas(int(state.Num), packed)
	for k, part := range []struct {
		user uint64
		size int
	}{{state.Desc, desc}, {state.Avail, avail}, {state.Used, used}} {
		var ok bool
		if at[k], ok = s.memory.Table.FromUser(part.user, uint64(part.size)); !ok {
			return at, fmt.Errorf("ring %d: its %s is not in the memory that the front-end shares", i, vring.AreaNames(packed)[k])
		}
	}
	return at, nil
}

// splitPosition corrects where a ring goes on. A back-end that stops a ring has completed
// every buffer, so the front-end's SET_VRING_BASE and the used index that the
// guest has seen are the same. When no back-end was asked where it stood, because
// it died or because it never saw the ring, some front-ends say 0 (DPDK's
// virtio-user as a server does): the used index is right then, and buffers that
// an earlier back-end had taken but not given back are taken again.
func (s *Session) splitPosition(i int, base uint16, cfg vring.DeviceConfig) (uint16, error) {
	used, ok := s.memory.Table.View(cfg.Used, uint64(vring.UsedBytes(cfg.Size)))
	if !ok {
		return 0, fmt.Errorf("ring %d: its used ring lies in more than one memory region", i)
	}
	const idx = 2 // offset of used.idx (virtio 2.7.8)
	at := binary.LittleEndian.Uint16(used[idx:])
	if at != base {
		s.log.Warn("a ring is not at the index that the front-end says; going on after the last used buffer",
			zap.Int("ring", i), zap.Uint16("base", base), zap.Uint16("used", at))
	}
	return at, nil
}

// packedPosition is splitPosition for a packed ring. The front-end names where the next
// buffer is and, unless the upper half is 0, where the next completion goes. What lies
// between the two was taken and not given back; it is taken again. When a back-end went
// without being asked where it stood, DPDK's virtio-user begins its rings again, and QEMU
// (up to 11.1) says where they stood when they were started: then the ring itself tells.
func (s *Session) packedPosition(i int, base uint32, cfg vring.DeviceConfig) (uint16, error) {
	ring, ok := s.memory.Table.View(cfg.Desc, uint64(vring.TableBytes(cfg.Size)))
	if !ok {
		return 0, fmt.Errorf("ring %d: its descriptors lie in more than one memory region", i)
	}
	told := uint16(base)
	if used := uint16(base >> 16); used != 0 {
		told = used
	}
	if cfg.Resumed {
		if tracked, ok := cfg.Track.PackedBase(ring); ok {
			told = tracked
		}
	}
	at, err := vring.PackedPosition(ring, cfg.Size, told, cfg.Indirect)
	if err != nil {
		return 0, fmt.Errorf("ring %d: %w", i, err)
	}
	if at != uint16(base) && !(base == 0 && at == vring.FirstSlot) {
		s.log.Warn("a ring is not at the index that the front-end says; going on after the last used buffer",
			zap.Int("ring", i), zap.Uint32("base", base), zap.Uint16("used", at))
	}
	return at, nil
}
