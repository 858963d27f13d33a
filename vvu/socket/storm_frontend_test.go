package socket

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/net/control"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// storm is a hostile front-end that does everything in any order.
type storm struct {
	t     *testing.T
	rnd   *rand.Rand
	path  string
	conn  *vhostuser.Conn
	files []int  // of memory; regions, logs and tracking memory
	ram   []byte // the first of them
	fds   []int  // others, to be closed
	extra int    // regions that were added
	avail [9]uint16
	kicks [9]int
	acks  bool // REPLY_ACK was negotiated

	features, feats virtio.Features
}

const (
	stormName  = "storm"
	stormRings = 9 // of four pairs and the control queue
	stormSize  = 32
	stormSpace = 32 << 10 // for a ring
	stormRAM   = 1 << 20
	stormGPA   = 0x1_0000_0000
	stormUVA   = 0x7000_0000_0000
)

func (s *storm) file(size int64) int {
	fd, err := unix.MemfdCreate(stormName, unix.MFD_CLOEXEC)
	if err != nil {
		s.t.Fatal(err)
	}
	unix.Ftruncate(fd, size)
	s.files = append(s.files, fd)
	return fd
}

func (s *storm) event() int {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		s.t.Fatal(err)
	}
	s.fds = append(s.fds, fd)
	return fd
}

// odd is a descriptor of a kind that no one expects, now and then, else that given.
func (s *storm) odd(fd int) int {
	if s.rnd.IntN(60) != 0 {
		return fd
	}
	var p [2]int
	switch s.rnd.IntN(4) {
	case 0:
		unix.Pipe2(p[:], unix.O_CLOEXEC)
		s.fds = append(s.fds, p[:]...)
	case 1:
		p[0], _ = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		s.fds = append(s.fds, p[0])
	case 2:
		p[0], _ = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		s.fds = append(s.fds, p[0])
	default:
		return s.file(int64(s.rnd.IntN(5000)))
	}
	return p[0]
}

// say sends a message and, if it is a question, takes the answer. It returns false if the
// session is over.
func (s *storm) say(r vhostuser.Request, p vhostuser.Payload, fds ...int) bool {
	m := vhostuser.NewRequest(r, p, fds...)
	ask := s.acks && s.rnd.IntN(3) == 0
	if ask {
		m.Flags |= vhostuser.FlagNeedReply
	}
	s.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if err := s.conn.WriteMessage(m); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.t.Errorf("%v was not taken", r)
		}
		return false
	}
	if !r.HasReply() && !ask {
		return true
	}
	s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	reply, err := s.conn.ReadMessage()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.t.Errorf("%v was not answered: %v\n%s", r, err, stacks())
		}
		return false
	}
	if r == vhostuser.GetInflightFD && len(reply.FDs) == 1 {
		var v vhostuser.Inflight
		if v.Decode(reply.Payload) == nil && s.rnd.IntN(4) != 0 {
			ok := s.say(vhostuser.SetInflightFD, v, reply.FDs...)
			reply.CloseFDs()
			return ok
		}
	}
	reply.CloseFDs()
	return true
}

func (s *storm) connect() bool {
	var err error
	if s.conn, err = vhostuser.Dial(s.path); err != nil {
		s.t.Error(err)
		return false
	}
	s.files, s.fds, s.extra, s.avail, s.acks = nil, nil, 0, [9]uint16{}, false
	fd := s.file(stormRAM)
	s.ram, err = unix.Mmap(fd, 0, stormRAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range s.kicks {
		s.kicks[i] = s.event()
	}
	s.feats = virtio.Version1 | virtio.ProtocolFeatures | virtio.NetMrgRxbuf
	for _, f := range []virtio.Features{virtio.RingPacked, virtio.EventIdx, virtio.IndirectDesc, virtio.InOrder, virtio.NetOffloads, virtio.NetMQ, control.Features, virtio.LogAll} {
		if s.rnd.IntN(2) == 0 {
			s.feats |= f
		}
	}
	s.features = s.feats
	ok := s.say(vhostuser.GetFeatures, nil) && s.say(vhostuser.SetOwner, nil) && s.say(vhostuser.GetProtocolFeatures, nil) &&
		s.say(vhostuser.SetProtocolFeatures, vhostuser.U64(vhostuser.SupportedProtocol)) && s.say(vhostuser.SetFeatures, vhostuser.U64(s.features))
	s.acks = true
	if s.rnd.IntN(2) == 0 {
		ok = ok && s.say(vhostuser.GetInflightFD, vhostuser.Inflight{Queues: uint16(1 + s.rnd.IntN(stormRings)), QueueSize: stormSize})
	}
	if s.rnd.IntN(10) != 0 {
		ok = ok && s.table()
	}
	for i := range stormRings {
		if s.rnd.IntN(8) != 0 {
			ok = ok && s.startRing(i)
		}
	}
	return ok
}

func (s *storm) table() bool {
	regions := vhostuser.MemoryTable{{GPA: stormGPA, Size: stormRAM, UVA: stormUVA}}
	s.extra = 0
	return s.say(vhostuser.SetMemTable, regions, s.odd(s.files[0]))
}

func (s *storm) region(i int) vhostuser.SingleRegion {
	return vhostuser.SingleRegion{GPA: stormGPA + uint64(1+i)<<24, Size: 1 << 16, UVA: stormUVA + uint64(1+i)<<24}
}

func (s *storm) areas(i int) (at [3]uint64) {
	at[0] = uint64(i * stormSpace)
	desc, avail, _ := vring.Areas(stormSize, s.features.Has(virtio.RingPacked))
	at[1] = at[0] + uint64(desc)
	at[2] = (at[1] + uint64(avail) + 7) &^ 7
	return at
}

func (s *storm) startRing(i int) bool {
	at := s.areas(i)
	if s.rnd.IntN(30) == 0 {
		at[s.rnd.IntN(3)] += uint64(s.rnd.IntN(stormRAM))
	}
	addr := vhostuser.VringAddr{Index: uint32(i), Desc: stormUVA + at[0], Avail: stormUVA + at[1], Used: stormUVA + at[2], Log: stormGPA + at[2]}
	if s.rnd.IntN(3) == 0 {
		addr.Flags = vhostuser.VringAddrLog
		if s.rnd.IntN(3) == 0 {
			addr.Log = s.rnd.Uint64()
		}
	}
	base := uint32(0)
	if s.features.Has(virtio.RingPacked) {
		base = 0x8000_8000
	}
	steps := []func() bool{
		func() bool {
			return s.say(vhostuser.SetVringNum, vhostuser.VringState{Index: uint32(i), Num: stormSize})
		},
		func() bool { return s.say(vhostuser.SetVringBase, vhostuser.VringState{Index: uint32(i), Num: base}) },
		func() bool { return s.say(vhostuser.SetVringAddr, addr) },
		func() bool {
			return s.say(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(i)}, s.odd(s.event()))
		},
		func() bool {
			if s.rnd.IntN(10) == 0 {
				return s.say(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(i), NoFD: true})
			}
			return s.say(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(i)}, s.odd(s.kicks[i]))
		},
		func() bool { return s.say(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(i), Num: 1}) },
	}
	if s.rnd.IntN(5) == 0 {
		s.rnd.Shuffle(len(steps), func(a, b int) { steps[a], steps[b] = steps[b], steps[a] })
	}
	for _, step := range steps {
		if !step() {
			return false
		}
	}
	return true
}

// offer makes buffers available in a split ring, receive or transmit or a command.
func (s *storm) offer(i int) {
	if s.features.Has(virtio.RingPacked) {
		at := s.areas(i)[0]
		for k := range stormSize {
			d := s.ram[at+uint64(16*k):]
			le := binary.LittleEndian
			if s.rnd.IntN(2) == 0 {
				le.PutUint64(d, stormGPA+uint64(s.rnd.IntN(stormRAM)))
				le.PutUint32(d[8:], uint32(s.rnd.IntN(3000)))
				flags := uint16(0)
				if i%2 == 0 {
					flags = vring.DescWrite
				}
				if s.rnd.IntN(10) == 0 {
					flags ^= uint16(s.rnd.IntN(8))
				}
				flags |= 1 << 7
				if s.rnd.IntN(3) == 0 {
					flags ^= 1<<7 | 1<<15
				}
				le.PutUint32(d[12:], uint32(k)|uint32(flags)<<16)
			}
		}
		return
	}
	at := s.areas(i)
	le := binary.LittleEndian
	n := 1 + s.rnd.IntN(20)
	for range n {
		k := s.avail[i] % stormSize
		d := s.ram[at[0]+uint64(16*k):]
		buf := uint64(stormRAM - 256<<10 + 4096*s.rnd.IntN(60))
		at4 := buf
		if s.extra > 0 && s.rnd.IntN(4) == 0 {
			at4 = uint64(1+s.rnd.IntN(s.extra))<<24 + buf&0xffff
		}
		flags, next := uint16(0), uint16(0)
		size := uint32(60 + s.rnd.IntN(2000))
		if i%2 == 0 {
			flags = vring.DescWrite
		}
		if i == 2 || i == stormRings-1 { // commands, perhaps
			copy(s.ram[buf:], []byte{byte(s.rnd.IntN(5)), byte(s.rnd.IntN(3)), byte(s.rnd.IntN(4)), 0, 0, 0, 0, 0, 0, 0})
			flags, size = vring.DescNext, uint32([]int{3, 4, 8, 10, 2}[s.rnd.IntN(5)])
			next = (k + 1) % stormSize
			d2 := s.ram[at[0]+uint64(16*next):]
			le.PutUint64(d2, stormGPA+buf+100)
			le.PutUint32(d2[8:], 1)
			le.PutUint32(d2[12:], uint32(vring.DescWrite))
		} else if s.rnd.IntN(4) == 0 && i%2 == 1 {
			copy(s.ram[buf:], []byte{byte(s.rnd.IntN(2)), byte(s.rnd.IntN(5)), 54, 0, 100, 0, 34, 0, 16, 0})
			size = 4000
		}
		if s.rnd.IntN(200) == 0 {
			flags ^= uint16(s.rnd.IntN(8))
		}
		le.PutUint64(d, stormGPA+at4)
		le.PutUint32(d[8:], size)
		le.PutUint16(d[12:], flags)
		le.PutUint16(d[14:], next)
		le.PutUint16(s.ram[at[1]+4+2*uint64(k):], k)
		s.avail[i]++
	}
	le.PutUint16(s.ram[at[1]+2:], s.avail[i])
}

func (s *storm) step() bool {
	r := s.rnd
	i := r.IntN(stormRings)
	switch r.IntN(26) {
	case 0:
		return s.say(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(i)}, s.event())
	case 1:
		return s.say(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(i), Num: uint32(r.IntN(2))})
	case 2:
		s.avail[i] = 0
		ok := s.say(vhostuser.GetVringBase, vhostuser.VringState{Index: uint32(i)})
		clear(s.ram[i*stormSpace : i*stormSpace+stormSpace/2])
		return ok && (r.IntN(2) == 0 || s.startRing(i))
	case 3, 4:
		s.features ^= virtio.LogAll
		return s.say(vhostuser.SetFeatures, vhostuser.U64(s.features))
	case 5, 6:
		size := uint64(stormGPA+512<<24)/4096/8 + 1
		fd := s.file(int64(size))
		if r.IntN(12) == 0 {
			unix.Ftruncate(fd, int64(r.IntN(int(size))))
		}
		return s.say(vhostuser.SetLogBase, vhostuser.Log{Size: size, Offset: 0}, s.odd(fd))
	case 7:
		return s.say(vhostuser.GetInflightFD, vhostuser.Inflight{Queues: uint16(1 + r.IntN(stormRings)), QueueSize: stormSize})
	case 8:
		size := uint64(stormRings * vring.TrackBytes(stormSize, true))
		return s.say(vhostuser.SetInflightFD, vhostuser.Inflight{Size: size, Queues: stormRings, QueueSize: stormSize}, s.odd(s.file(int64(size))))
	case 9, 10:
		s.extra++
		return s.say(vhostuser.AddMemReg, s.region(s.extra-1), s.odd(s.file(1<<16)))
	case 11:
		if s.extra == 0 {
			return true
		}
		s.extra--
		return s.say(vhostuser.RemMemReg, s.region(s.extra))
	case 12:
		return s.table()
	case 13:
		if r.IntN(10) != 0 {
			return true
		}
		return s.say(vhostuser.ResetDevice, nil) && s.say(vhostuser.SetFeatures, vhostuser.U64(s.features))
	case 14:
		if r.IntN(5) != 0 {
			return true
		}
		s.features ^= []virtio.Features{virtio.NetMQ, virtio.NetCtrlVQ, virtio.NetOffloads, virtio.EventIdx}[r.IntN(4)]
		return s.say(vhostuser.SetFeatures, vhostuser.U64(s.features))
	case 15:
		if r.IntN(4) == 0 { // memory vanishes; what came last is in use
			unix.Ftruncate(s.files[max(len(s.files)-1-r.IntN(6), 0)], int64(4096*r.IntN(2)))
		}
		if r.IntN(20) == 0 {
			unix.Ftruncate(s.files[0], int64(r.IntN(stormRAM)))
		}
	case 16:
		return s.say(vhostuser.SendRARP, vhostuser.U64(r.Uint64()))
	case 17:
		return s.say(vhostuser.NetSetMTU, vhostuser.U64(68+r.IntN(9000)))
	case 18:
		return s.say(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(i)}, s.kicks[i])
	case 19:
		if r.IntN(10) == 0 {
			at := s.areas(i)[0]
			for k := range 600 {
				s.ram[at+uint64(k)] = byte(r.Uint32())
			}
		}
	default:
		for range 3 {
			i := r.IntN(stormRings)
			s.offer(i)
			unix.Write(s.kicks[i], []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
	return true
}

// guardedStep is step for a front-end whose own memory can vanish, which it takes away.
func (s *storm) guardedStep() (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			ok = false
		}
	}()
	return s.step()
}

func (s *storm) end() {
	if s.conn == nil {
		return
	}
	s.conn.Close()
	s.conn = nil
	unix.Munmap(s.ram)
	for _, fd := range append(s.files, s.fds...) {
		unix.Close(fd)
	}
}
