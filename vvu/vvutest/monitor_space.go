package vvutest

import "encoding/binary"

// monitorSpace is a BAR's registers behind messages. An access that fails is the
// end of the test, and reads as ones.
type monitorSpace struct {
	m    *Monitor
	bar  int
	size uint64
}

func (s *monitorSpace) load(off uint64, width int) uint64 {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var b [8]byte
	if err := s.m.client.Read(s.bar, off, b[:width]); err != nil {
		s.m.t.Errorf("monitor: read of BAR %d at %#x: %v", s.bar, off, err)
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (s *monitorSpace) store(off uint64, width int, v uint64) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	if err := s.m.client.Write(s.bar, off, b[:width]); err != nil {
		s.m.t.Errorf("monitor: write to BAR %d at %#x: %v", s.bar, off, err)
	}
}

func (s *monitorSpace) Len() uint64              { return s.size }
func (s *monitorSpace) Load8(off uint64) uint8   { return uint8(s.load(off, 1)) }
func (s *monitorSpace) Load16(off uint64) uint16 { return uint16(s.load(off, 2)) }
func (s *monitorSpace) Load32(off uint64) uint32 { return uint32(s.load(off, 4)) }
func (s *monitorSpace) Load64(off uint64) uint64 {
	low := s.load(off, 4)
	return low | s.load(off+4, 4)<<32
}
func (s *monitorSpace) Store8(off uint64, v uint8)   { s.store(off, 1, uint64(v)) }
func (s *monitorSpace) Store16(off uint64, v uint16) { s.store(off, 2, uint64(v)) }
func (s *monitorSpace) Store32(off uint64, v uint32) { s.store(off, 4, uint64(v)) }
func (s *monitorSpace) Store64(off uint64, v uint64) {
	s.store(off, 4, v&0xffffffff)
	s.store(off+4, 4, v>>32)
}
