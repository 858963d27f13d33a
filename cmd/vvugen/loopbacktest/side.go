package loopbacktest

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// side is one socket with its rings.
type side struct {
	owner   *Backend
	closer  io.Closer
	machine *vhostuser.Backend

	// Under the owner's mutex.
	conn  *vhostuser.Conn
	table *mem.Table
	maps  [][]byte
	rings [2]*vring.Device
	spare *vring.Chain // a receive buffer kept back by Config.Shuffle

	chain  vring.Chain // scratch of enqueue
	chains []vring.Chain
}

// serve handles a connection until it ends.
func (s *side) serve(conn *vhostuser.Conn) {
	defer conn.Close()
	s.machine.Reset()
	for {
		m, err := conn.ReadMessage()
		if err != nil {
			break
		}
		reply := s.handle(m)
		m.CloseFDs()
		if reply != nil && conn.WriteMessage(*reply) != nil {
			break
		}
	}
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	s.drop()
}

func (s *side) hangUp() {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *side) handle(m vhostuser.Message) *vhostuser.Message {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	reply, effects, err := s.machine.Handle(m)
	if err != nil {
		panic(fmt.Sprintf("the front-end sent %v: %v", m, err)) // a bug in what is tested
	}
	for _, e := range effects {
		switch e.Kind {
		case vhostuser.EffectReset:
			s.drop()
		case vhostuser.EffectMemory:
			s.remap(m.FDs)
		case vhostuser.EffectRing:
			s.setRing(e.Index)
		case vhostuser.EffectStop:
			base := s.machine.Ring(e.Index).Base
			if ring := s.rings[e.Index]; ring != nil {
				base = uint32(ring.NextAvail())
				s.rings[e.Index], s.spare = nil, nil
			}
			stopped := s.machine.Stopped(e.Index, base)
			reply = &stopped
		}
	}
	return reply
}

func (s *side) drop() {
	s.rings, s.spare = [2]*vring.Device{}, nil
	s.table = nil
	for _, b := range s.maps {
		unix.Munmap(b)
	}
	s.maps = nil
}

func (s *side) remap(fds []int) {
	s.drop()
	var regions []mem.Region
	for i, r := range s.machine.Regions() {
		b, err := unix.Mmap(fds[i], int64(r.Offset), int(r.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			panic(fmt.Sprintf("map %v: %v", r, err))
		}
		s.maps = append(s.maps, b)
		regions = append(regions, mem.Region{GPA: mem.GPA(r.GPA), UVA: r.UVA, Mem: b})
	}
	table, err := mem.New(regions)
	if err != nil {
		panic(fmt.Sprintf("memory table: %v", err))
	}
	s.table = table
	for i := range s.rings {
		s.setRing(i)
	}
}

// setRing starts a ring that has become ready.
func (s *side) setRing(i int) {
	state := s.machine.Ring(i)
	if !state.Ready || !state.Enabled || s.table == nil {
		s.rings[i] = nil
		return
	}
	if s.rings[i] != nil {
		return
	}
	n := int(state.Num)
	desc, ok1 := s.table.FromUser(state.Desc, uint64(vring.TableBytes(n)))
	avail, ok2 := s.table.FromUser(state.Avail, uint64(vring.AvailBytes(n)))
	used, ok3 := s.table.FromUser(state.Used, uint64(vring.UsedBytes(n)))
	if !ok1 || !ok2 || !ok3 {
		panic(fmt.Sprintf("ring %d is outside the memory table", i))
	}
	features := s.machine.Features()
	ring, err := vring.NewDevice(vring.DeviceConfig{
		Size: n, Mem: s.table, Desc: desc, Avail: avail, Used: used, NextAvail: uint16(state.Base),
		EventIdx: features.Has(virtio.EventIdx), Indirect: features.Has(virtio.IndirectDesc),
	})
	if err != nil {
		panic(fmt.Sprintf("ring %d: %v", i, err))
	}
	s.rings[i] = ring
}

func (s *side) mergeable() bool { return s.machine.Features().Has(virtio.NetMrgRxbuf) }
