package netfwd

import (
	"encoding/binary"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/packet"
)

// steering spreads frames over several queue pairs of a guest as the specification
// wants it (virtio 5.1.6.5.5): a flow's frames arrive where the guest has last sent
// some of that flow, which is where it will process them, and those of other flows
// anywhere, but each always at the same. It belongs to a lane.
type steering struct {
	queues []Port
	// flows has for each hash of a flow the queue pair plus one, 0 for none.
	flows [flowSlots]uint8
}

// flowSlots is as many flows as can be told apart. Those that cannot share a queue pair.
const flowSlots = 1 << flowBits

const flowBits = 12

// learn notes that the guest has sent frames through queue pair q.
func (s *steering) learn(frames []virtionet.Frame, q int) {
	for i := range frames {
		s.flows[flowOf(&frames[i])] = uint8(q + 1)
	}
}

// of is the queue pair for a frame.
func (s *steering) of(f *virtionet.Frame) uint8 {
	h := flowOf(f)
	if q := s.flows[h]; q != 0 {
		return q - 1
	}
	return uint8(h * len(s.queues) >> flowBits)
}

// steered is a burst of frames, sorted by the queue pairs that they go to.
type steered struct {
	*steering
	to   [virtionet.MaxBurst]uint8 // of frames, in the order in which they arrived
	ends []int                     // for each queue pair, where its frames end
	from [virtionet.MaxBurst]virtionet.Frame
}

func newSteered(s *steering) *steered { return &steered{steering: s, ends: make([]int, len(s.queues))} }

// sort puts the frames of a burst from index first on in the order of the queue pairs
// that they go to. Those for one keep theirs.
func (s *steered) sort(frames []virtionet.Frame, first int) {
	clear(s.ends)
	burst := frames[first:]
	for i := range burst {
		s.to[i] = s.of(&burst[i])
		s.ends[s.to[i]]++
	}
	alone := len(burst) == 0 || s.ends[s.to[0]] == len(burst)
	start := first
	for q, n := range s.ends {
		s.ends[q], start = start, start+n
	}
	if alone { // they are sorted
		for i := range burst {
			s.ends[s.to[i]]++
		}
	} else {
		copy(s.from[:], burst)
		for i := range burst {
			q := s.to[i]
			frames[s.ends[q]] = s.from[i]
			s.ends[q]++
		}
	}
}

// run is the queue pair to which frame i goes, and where the frames for it end.
func (s *steered) run(i int) (q Port, end int) {
	for k, end := range s.ends {
		if i < end {
			return s.queues[k], end
		}
	}
	panic("there is no such frame in the burst")
}

// headBytes is how much of a frame is looked at to tell its flow: headers of TCP over
// IPv6 with a VLAN tag and all options.
const headBytes = 128

// flowOf is a hash of a frame's flow, below flowSlots: of its addresses, protocol and
// ports, the same both ways. What a guest puts there only moves its own frames between
// queue pairs.
func flowOf(f *virtionet.Frame) int {
	var head [headBytes]byte // a copy: the guest can change what it has sent
	n := 0
	for _, piece := range f.Data {
		if n += copy(head[n:], piece); n == len(head) {
			break
		}
	}
	l := packet.Parse(head[:n])
	b := head[:]
	var key uint64
	switch l3 := int(l.L3); {
	case l.L4 == l.L3: // no IP
		key = binary.LittleEndian.Uint64(b)<<16 ^ binary.LittleEndian.Uint64(b[6:])<<16
	case l.IPv6:
		for off := 8; off < 40; off += 8 {
			key ^= binary.LittleEndian.Uint64(b[l3+off:])
		}
	default:
		key = uint64(binary.LittleEndian.Uint32(b[l3+12:]) ^ binary.LittleEndian.Uint32(b[l3+16:]))
	}
	if l.Protocol != 0 {
		ports := binary.LittleEndian.Uint16(b[l.L4:]) ^ binary.LittleEndian.Uint16(b[l.L4+2:])
		key ^= uint64(ports)<<40 ^ uint64(l.Protocol)<<56
	}
	// Multiplied by the golden ratio, after the high bits had their say in the low ones.
	key ^= key >> 32
	return int(key * 0x9e3779b97f4a7c15 >> (64 - flowBits))
}
