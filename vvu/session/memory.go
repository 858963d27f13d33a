package session

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Memory is a front-end's memory, mapped.
type Memory struct {
	Table *mem.Table
	Unmap func() error
}

// remap replaces the guest's memory and then all rings. The device has swapped
// the BAR already; until the rings are stopped no one but their owner is at fault.
func (s *Session) remap() error {
	s.pauseAll()
	if err := s.unmapMemory(); err != nil {
		return err
	}
	regions := s.backend.Regions()
	memory, err := s.carrier.Map(regions)
	if err != nil {
		s.backend.ForgetMemory()
		return err
	}
	s.use(memory, regions)
	if err := s.openLog(); err != nil {
		return err
	}
	return s.followAll()
}

// amend is remap for a table with one region more or less than before. Rings run on: each
// goes over to the new table between two bursts, and the old one stays until all have.
func (s *Session) amend() error {
	if s.memory == nil {
		return s.remap()
	}
	regions, old := s.backend.Regions(), s.memory
	memory, err := s.carrier.Map(regions)
	switch {
	case err != nil && len(regions) > len(s.regions):
		s.backend.RestoreMemory(s.regions)
		return err
	case err != nil: // what was removed must not be touched any more
		s.pauseAll()
		s.backend.ForgetMemory()
		return errors.Join(err, s.unmapMemory())
	}
	s.use(memory, regions)
	log := s.dirty
	if s.dirty, err = s.newLog(false); err != nil {
		return errors.Join(err, s.succeed(log), old.Unmap())
	}
	return errors.Join(s.moveRings(), s.succeed(log), old.Unmap(), s.followAll())
}

// moveRings lets every ring that runs go on in the memory that is mapped now. One that is
// not in it stops.
func (s *Session) moveRings() error {
	var errs []error
	lost := map[int]*vring.Device{}
	for i, q := range s.rings {
		if q == nil {
			continue
		}
		s.touch(i)
		place, err := s.place(i, q)
		switch {
		case err != nil:
			errs = append(errs, err)
			lost[i], s.rings[i] = q, nil
			if s.pairOf(i) < 0 {
				s.control.stop()
			}
		case s.pairOf(i) < 0: // no one is at work on it now
			q.Move(place)
		default:
			s.places[i] = place
		}
	}
	s.installChanged()
	clear(s.places)
	for i, q := range lost {
		s.backend.Stopped(i, q.Position())
	}
	return errors.Join(errs...)
}

// place is where ring i lies in the memory that is mapped now.
func (s *Session) place(i int, q *vring.Device) (*vring.Place, error) {
	at, err := s.areas(i)
	if err != nil {
		return nil, err
	}
	place, err := q.Place(s.memory.Table, at[0], at[1], at[2])
	if err != nil {
		return nil, fmt.Errorf("ring %d: %w", i, err)
	}
	return place, nil
}

// use makes memory the guest's.
func (s *Session) use(memory *Memory, regions []vhostuser.MemoryRegion) {
	s.memory, s.regions = memory, regions
	var total uint64
	for _, r := range regions {
		total += r.Size
	}
	s.log.Info("guest memory mapped", zap.Int("regions", len(regions)), zap.Uint64("MiB", total>>20))
}

// unmap releases the guest's memory and of the log that goes with it.
func (s *Session) unmap() error { return errors.Join(s.closeLog(), s.unmapMemory()) }

func (s *Session) unmapMemory() error {
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory, s.regions = nil, nil
	return memory.Unmap()
}
