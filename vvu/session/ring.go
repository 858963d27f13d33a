package session

import (
	"encoding/binary"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
)

// start builds ring i from the addresses that the front-end gave.
func (s *Session) start(i int) error {
	state, features := s.backend.Ring(i), s.backend.Features()
	cfg := vring.DeviceConfig{
		Size: int(state.Num), Mem: s.memory.Table, NextAvail: uint16(state.Base),
		EventIdx: features.Has(virtio.EventIdx), Indirect: features.Has(virtio.IndirectDesc),
	}
	var ok [3]bool
	cfg.Desc, ok[0] = s.memory.Table.FromUser(state.Desc, uint64(vring.TableBytes(cfg.Size)))
	cfg.Avail, ok[1] = s.memory.Table.FromUser(state.Avail, uint64(vring.AvailBytes(cfg.Size)))
	cfg.Used, ok[2] = s.memory.Table.FromUser(state.Used, uint64(vring.UsedBytes(cfg.Size)))
	for k, name := range []string{"descriptor table", "avail ring", "used ring"} {
		if !ok[k] {
			return fmt.Errorf("ring %d: its %s is not in the memory that the front-end shares", i, name)
		}
	}
	if err := s.position(i, &cfg); err != nil {
		return err
	}
	q, err := vring.NewDevice(cfg)
	if err != nil {
		return fmt.Errorf("ring %d: %w", i, err)
	}
	s.rings[i], s.running[i] = q, state
	s.pairs[i/2].changed = true
	s.log.Info("ring started", zap.Int("ring", i), zap.Int("size", cfg.Size), zap.Uint16("next avail", cfg.NextAvail), zap.Bool("enabled", state.Enabled))
	return nil
}

// position corrects where a ring goes on. A back-end that stops a ring has completed
// every buffer, so the front-end's SET_VRING_BASE and the used index that the
// guest has seen are the same. When no back-end was asked where it stood, because
// it died or because it never saw the ring, some front-ends say 0 (DPDK's
// virtio-user as a server does): the used index is right then, and buffers that
// an earlier back-end had taken but not given back are taken again.
func (s *Session) position(i int, cfg *vring.DeviceConfig) error {
	used, ok := s.memory.Table.View(cfg.Used, uint64(vring.UsedBytes(cfg.Size)))
	if !ok {
		return fmt.Errorf("ring %d: its used ring lies in more than one memory region", i)
	}
	const idx = 2 // offset of used.idx (virtio 2.7.8)
	if at := binary.LittleEndian.Uint16(used[idx:]); at != cfg.NextAvail {
		s.log.Warn("a ring does not stand where the front-end says; going on behind the last used buffer",
			zap.Int("ring", i), zap.Uint16("base", cfg.NextAvail), zap.Uint16("used", at))
		cfg.NextAvail = at
	}
	return nil
}
