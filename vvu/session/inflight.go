package session

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// InflightMemory is memory in which rings are tracked, mapped.
type InflightMemory struct {
	Bytes []byte // 8-aligned
	Unmap func() error
}

// inflight is where rings are tracked.
type inflight struct {
	*InflightMemory
	rings, entries int // of each
}

// newInflight makes memory for a front-end to keep.
func (s *Session) newInflight() (*vhostuser.Message, error) {
	v := s.backend.Inflight()
	size := inflightBytes(int(v.Queues), int(v.QueueSize), s.backend.Features().Has(virtio.RingPacked))
	fd, err := s.carrier.NewInflight(uint64(size))
	if err != nil {
		return nil, fmt.Errorf("inflight region: %w", err)
	}
	m := s.backend.InflightReply(uint64(size), fd)
	return &m, nil
}

// MaxInflight is the most memory that tracking the rings of a session with so many pairs
// takes, in bytes.
func MaxInflight(pairs int) int64 {
	return int64(inflightBytes(2*pairs+1, vhostuser.MaxQueueSize, true))
}

func inflightBytes(rings, entries int, packed bool) int {
	return rings * vring.TrackBytes(entries, packed)
}

// setInflight tracks rings in the memory that the front-end has sent, from their next start
// on. It cannot change under rings that run.
func (s *Session) setInflight() error {
	for i, q := range s.rings {
		if q != nil && s.tracked[i] { // the ring itself is the loop's to ask
			return fmt.Errorf("ring %d runs: it is tracked where it was", i)
		}
	}
	if err := s.endInflight(); err != nil {
		return err
	}
	v := s.backend.Inflight()
	need := uint64(inflightBytes(int(v.Queues), int(v.QueueSize), s.backend.Features().Has(virtio.RingPacked)))
	if v.Size < need {
		return fmt.Errorf("inflight region has %d bytes, and %d are needed", v.Size, need)
	}
	if v.Offset%8 != 0 {
		return fmt.Errorf("inflight region begins at %#x, which is not 8-aligned", v.Offset)
	}
	m, err := s.carrier.MapInflight(v.Offset, need)
	if err != nil {
		return fmt.Errorf("inflight region: %w", err)
	}
	s.flight = &inflight{InflightMemory: m, rings: int(v.Queues), entries: int(v.QueueSize)}
	s.log.Info("rings are tracked for the next back-end", zap.Int("rings", s.flight.rings))
	return nil
}

// endInflight releases the memory, when no ring is tracked in it any more.
func (s *Session) endInflight() error {
	old := s.flight
	s.flight = nil
	if old == nil {
		return nil
	}
	return old.Unmap()
}

// tracker returns what tracks ring i, and whether it was tracked before; nil if it is not.
func (s *Session) tracker(i int, cfg vring.DeviceConfig) (*vring.Tracker, bool, error) {
	f := s.flight
	if f == nil || i >= f.rings || cfg.Size > f.entries || len(f.Bytes) < inflightBytes(f.rings, f.entries, cfg.Packed) {
		return nil, false, nil
	}
	var name [8]byte
	if _, err := rand.Read(name[:]); err != nil {
		return nil, false, err
	}
	stride := vring.TrackBytes(f.entries, cfg.Packed)
	t, resumed := vring.NewTracker(f.Bytes[i*stride:(i+1)*stride], cfg.Size, cfg.Packed, binary.LittleEndian.Uint64(name[:])|1)
	return t, resumed, nil
}
