package vvutest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Player is an app VM whose monitor follows recorded orders. The embedded App is its
// guest; of its own monitor nothing is used. One goroutine owns it.
type Player struct {
	*App
	Orders *Orders

	Offered  virtio.Features
	Acked    virtio.Features
	Protocol vhostuser.ProtocolFeatures // negotiated
	QueueNum uint64                     // what GET_QUEUE_NUM answered
	Sent     []string                   // the messages so far, without payload
	Log      Log                        // what was written until the last SET_LOG_BASE took the log away

	ram      *RAM
	extra    vhostuser.MemoryRegion // that the next ADD_MEM_REG adds
	askAll   bool
	stopped  []uint32 // by ring: what GET_VRING_BASE returned
	inflight vhostuser.Inflight
	shared   int    // file of inflight; -1: none
	log      []byte // that the back-end writes now
	logFD    int    // its file, if there is one
	oldLog   []byte // that it wrote before, until it has acknowledged the new one
	oldLogFD int
	answered vhostuser.Config
}

// NewPlayer starts a VM on ram whose monitor connects to the socket at path.
func NewPlayer(ram *RAM, path string, o *Orders, cfg AppConfig) (*Player, error) {
	cfg.Style = vhostuser.QEMU // unused
	if cfg.Features == 0 {
		cfg.Features = o.Features &^ virtio.LogAll
	}
	app, err := Boot(ram, path, cfg)
	if err != nil {
		return nil, err
	}
	return &Player{App: app, Orders: o, ram: ram, stopped: make([]uint32, len(app.queues)), shared: -1}, nil
}

// Fresh is the guest's driver laying out its rings, before it sets DRIVER_OK.
func (p *Player) Fresh() error {
	clear(p.stopped)
	for ring := range p.queues {
		if err := p.Renew(ring); err != nil {
			return err
		}
	}
	return nil
}

// Offer shows the back-end the buffers of all receive rings.
func (p *Player) Offer() {
	for ring := 0; ring < len(p.queues); ring += 2 {
		p.Publish(ring)
	}
}

// Redial is a new connection to the socket at path, over which the next section goes.
func (p *Player) Redial(path string) error {
	p.Conn.Close()
	p.askAll = false
	var err error
	p.Conn, err = vhostuser.Dial(path)
	return err
}

// Close ends the VM and what the monitor held for it.
func (p *Player) Close() error {
	if p.shared >= 0 {
		unix.Close(p.shared)
		p.shared = -1
	}
	p.forget(p.log, p.logFD)
	p.forget(p.oldLog, p.oldLogFD)
	p.log, p.oldLog = nil, nil
	return p.Halt()
}

// Config is what the last GET_CONFIG answered.
func (p *Player) Config() []byte { return p.answered.Data }

// PlugMirror prepares the next ADD_MEM_REG: it shows all of the RAM once more at another
// address, where the guest has its buffers from then on.
func (p *Player) PlugMirror() {
	p.extra = vhostuser.MemoryRegion{GPA: 8 << 30, Size: RAMSize, UVA: userBase + 1<<40}
	p.cfg.Regions = append([]vhostuser.MemoryRegion{p.extra}, p.cfg.Regions...)
	for _, q := range p.queues {
		q.regions = p.cfg.Regions
	}
}

// Play sends the messages of one section in order and checks the answers as the front-end
// does.
func (p *Player) Play(section string) error {
	steps, ok := p.Orders.sections[section]
	if !ok {
		return fmt.Errorf("%s has no section %q", p.Orders.Name, section)
	}
	for i := range steps {
		s := &steps[i]
		var err error
		if s.each == nil {
			err = p.step(s, -1)
		}
		for ring := range p.queues {
			for k := range s.each {
				err = errors.Join(err, p.step(&s.each[k], ring))
			}
		}
		if err != nil {
			return fmt.Errorf("%s, %s, line %d: %w", p.Orders.Name, section, s.line, err)
		}
	}
	return nil
}

func (p *Player) step(s *step, ring int) error {
	if !p.Protocol.Has(s.needs) {
		return nil
	}
	if s.request == 0 {
		for i, q := range p.queues {
			if avail, used := q.indices(); avail != used {
				p.Kick(i)
			}
		}
		return nil
	}
	payload, fds, err := p.message(s, ring)
	if err != nil {
		return err
	}
	m := vhostuser.NewRequest(s.request, payload, fds...)
	if p.askAll {
		m.Flags |= vhostuser.FlagNeedReply
	}
	if s.request == vhostuser.SetProtocolFeatures { // from the next message on
		p.askAll = p.Orders.AskAll && p.Protocol.Has(vhostuser.ProtoReplyAck)
	}
	p.Sent = append(p.Sent, s.request.String())
	if err := errors.Join(p.armDeadline(), p.Conn.WriteMessage(m)); err != nil {
		return fmt.Errorf("%v: %w", s.request, err)
	}
	// rust-vmm does not know that SET_LOG_BASE has a reply: it wants an acknowledgement
	// if it asked for one, like for any other request.
	replies := s.request.HasReply() && s.request != vhostuser.SetLogBase
	if !replies && !m.NeedsReply() {
		return nil
	}
	reply, err := p.Conn.ReadMessage()
	if err != nil {
		return fmt.Errorf("%v: wait for its reply: %w", s.request, err)
	}
	if reply.Request != s.request || reply.Flags != vhostuser.ReplyFlags {
		reply.CloseFDs()
		return fmt.Errorf("%v is answered with %v, flags %#x", s.request, reply, reply.Flags)
	}
	if !replies {
		reply.CloseFDs()
		p.takeLog()
		if !slices.Equal(reply.Payload, make([]byte, vhostuser.U64Size)) {
			return fmt.Errorf("%v is acknowledged with %x, want 8 bytes of zero", s.request, reply.Payload)
		}
		return nil
	}
	return p.answer(s, ring, reply)
}

// message is what the step sends.
func (p *Player) message(s *step, ring int) (payload vhostuser.Payload, fds []int, err error) {
	switch s.request {
	case vhostuser.SetFeatures:
		p.Acked = p.Offered & p.cfg.Features
		if s.has("+LOG_ALL") {
			p.Acked |= virtio.LogAll
		}
		return vhostuser.U64(p.Acked | p.Offered&virtio.ProtocolFeatures), nil, nil
	case vhostuser.SetProtocolFeatures:
		return vhostuser.U64(p.Protocol), nil, nil
	case vhostuser.SetMemTable:
		for range p.cfg.Regions {
			fds = append(fds, p.ram.FD)
		}
		return vhostuser.MemoryTable(p.cfg.Regions), fds, nil
	case vhostuser.AddMemReg:
		return vhostuser.SingleRegion(p.extra), []int{p.ram.FD}, nil
	case vhostuser.GetConfig:
		offset, err := s.number(0)
		size, err2 := s.number(1)
		return vhostuser.Config{Offset: offset, Flags: 1, Data: make([]byte, size)}, nil, errors.Join(err, err2)
	case vhostuser.GetInflightFD:
		return vhostuser.Inflight{Queues: uint16(len(p.queues)), QueueSize: uint16(p.cfg.Entries)}, nil, nil
	case vhostuser.SetInflightFD:
		if p.shared < 0 {
			return nil, nil, errors.New("no GET_INFLIGHT_FD came before")
		}
		return p.inflight, []int{p.shared}, nil
	case vhostuser.SetLogBase:
		fd, err := p.newLog()
		return vhostuser.Log{Size: uint64(len(p.log))}, []int{fd}, err
	}
	if ring < 0 {
		return nil, nil, nil // without payload
	}
	return p.ringMessage(s, ring)
}

// ringMessage is a message about one ring.
func (p *Player) ringMessage(s *step, ring int) (payload vhostuser.Payload, fds []int, err error) {
	r, i := p.queues[ring].ring(), uint32(ring)
	switch s.request {
	case vhostuser.SetVringNum:
		return vhostuser.VringState{Index: i, Num: r.Num}, nil, nil
	case vhostuser.SetVringAddr:
		a := vhostuser.VringAddr{Index: i, Desc: r.Desc, Used: r.Used, Avail: r.Avail}
		if s.has("log") {
			a.Flags = vhostuser.VringAddrLog
			if a.Log, err = gpa(p.cfg.Regions, r.Used-userBase); err != nil {
				return nil, nil, err
			}
		}
		return a, nil, nil
	case vhostuser.SetVringBase:
		base := p.stopped[ring]
		switch avail, used := p.queues[ring].indices(); {
		case s.has("avail"):
			base = uint32(avail)
		case s.has("used"):
			base = uint32(used)
		}
		return vhostuser.VringState{Index: i, Num: base}, nil, nil
	case vhostuser.SetVringCall:
		if r.Call < 0 {
			return vhostuser.VringFD{Index: uint8(ring), NoFD: true}, nil, nil
		}
		return vhostuser.VringFD{Index: uint8(ring)}, []int{r.Call}, nil
	case vhostuser.SetVringKick:
		return vhostuser.VringFD{Index: uint8(ring)}, []int{r.Kick}, nil
	case vhostuser.SetVringEnable:
		on, err := s.number(0)
		return vhostuser.VringState{Index: i, Num: on}, nil, err
	case vhostuser.GetVringBase:
		return vhostuser.VringState{Index: i}, nil, nil
	}
	return nil, nil, fmt.Errorf("%v is no message about a ring", s.request)
}

// answer takes what a reply says, and closes its files.
func (p *Player) answer(s *step, ring int, reply vhostuser.Message) error {
	defer reply.CloseFDs()
	var number vhostuser.U64
	var err error
	switch s.request {
	case vhostuser.GetFeatures:
		err = number.Decode(reply.Payload)
		p.Offered = virtio.Features(number)
		if want := p.cfg.Features; err == nil && !p.Offered.Has(want) {
			err = fmt.Errorf("offered are %v, want %v", p.Offered, want)
		}
	case vhostuser.GetProtocolFeatures:
		err = number.Decode(reply.Payload)
		p.Protocol = vhostuser.ProtocolFeatures(number) & p.Orders.Protocol
	case vhostuser.GetQueueNum:
		err = number.Decode(reply.Payload)
		p.QueueNum = uint64(number)
	case vhostuser.GetVringBase:
		var v vhostuser.VringState
		if err = v.Decode(reply.Payload); err == nil && v.Index != uint32(ring) {
			err = fmt.Errorf("it is about ring %d, want %d", v.Index, ring)
		}
		p.stopped[ring] = v.Num
	case vhostuser.GetConfig:
		offset, _ := s.number(0)
		size, _ := s.number(1)
		if err = p.answered.Decode(reply.Payload); err == nil && (p.answered.Offset != offset || len(p.answered.Data) != int(size)) {
			err = fmt.Errorf("asked for %d bytes at %d, got %d at %d", size, offset, len(p.answered.Data), p.answered.Offset)
		}
	case vhostuser.GetInflightFD:
		if err = p.inflight.Decode(reply.Payload); err == nil && len(reply.FDs) != 1 {
			err = fmt.Errorf("%d files come with it, want one", len(reply.FDs))
		}
		if err == nil {
			p.shared, err = unix.FcntlInt(uintptr(reply.FDs[0]), unix.F_DUPFD_CLOEXEC, 0)
		}
	default:
		err = errors.New("this player does not know how to read it")
	}
	if err != nil {
		return fmt.Errorf("reply to %v: %w", s.request, err)
	}
	return nil
}

// indices are the guest's avail and the back-end's used index of a split ring.
func (q *queue) indices() (avail, used uint16) {
	table := q.at + uint64(vring.TableBytes(q.entries))
	desc, _, usedAt := q.Addresses()
	return binary.LittleEndian.Uint16(q.ram.Bytes[table+2:]), binary.LittleEndian.Uint16(q.ram.Bytes[q.at+usedAt-desc+2:])
}
