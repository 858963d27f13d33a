package packet

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/net/packet"
)

// Several sockets at one interface share its frames by flow: each has a filter, which the kernel runs
// for each frame, and takes its share of what the addresses and ports of a frame add up to, the same
// for both directions of a flow. A fanout group (PACKET_FANOUT) would do that with one look at
// a frame for all sockets, but a socket in such a group cannot be bound to an interface that comes
// back (packet_do_bind), and to make another one takes privileges that are gone by then. What the
// driver knows as the frame's hash (SKF_AD_RXHASH) is zero with many.

// share has a socket take one of so many parts of what arrives.
func share(fd, part, parts int) error {
	program := assemble(shareOf(uint32(part), uint32(parts)))
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("share frames with other sockets: %w", err)
	}
	return nil
}

// step is an instruction of such a filter. It jumps to labels, and to the next one where there is none.
type step struct {
	label    string // its own
	code     uint16
	k        uint32
	yes, no  string // where a comparison goes
	straight string // where a jump goes
}

// Instructions.
const (
	loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	loadHalf  = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	loadByte  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
	loadLen   = unix.BPF_LD | unix.BPF_W | unix.BPF_LEN
	loadConst = unix.BPF_LD | unix.BPF_IMM
	toX       = unix.BPF_MISC | unix.BPF_TAX
	fromX     = unix.BPF_MISC | unix.BPF_TXA
	shift     = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	times     = unix.BPF_ALU | unix.BPF_MUL | unix.BPF_K
	modulo    = unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K
	xorX      = unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X
	equal     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	atLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	anyBit    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jump      = unix.BPF_JMP | unix.BPF_JA
	verdict   = unix.BPF_RET | unix.BPF_K
)

// Where things are in a frame.
const (
	offType      = 12
	offVersion   = 14
	offFragment  = 20
	offProtocol4 = 23
	offSource4   = 26
	offPorts4    = 34
	offProtocol6 = 20
	offSource6   = 22
	offPorts6    = 54
	portsLen     = 4
)

// shareOf is the filter. A load past the end of a frame would end it for all sockets, and the frame
// would be lost: so each looks at the length before.
func shareOf(part, parts uint32) []step {
	list := []step{
		{code: loadHalf, k: offType},
		{code: equal, k: unix.ETH_P_IP, yes: "ipv4"},
		{code: equal, k: unix.ETH_P_IPV6, yes: "ipv6", no: "others"},

		{label: "ipv4", code: loadLen},
		{code: atLeast, k: offPorts4 + portsLen, no: "others"},
		{code: loadHalf, k: offFragment},
		{code: anyBit, k: 0x3fff, yes: "no ports 4"}, // a fragment: but the first has none
		{code: loadByte, k: offVersion},
		{code: equal, k: 0x45, no: "no ports 4"}, // options
		{code: loadByte, k: offProtocol4},
		{code: equal, k: uint32(packet.TCP), yes: "ports 4"},
		{code: equal, k: uint32(packet.UDP), yes: "ports 4"},
		{label: "no ports 4", code: loadConst, k: 0},
		{code: jump, straight: "addresses 4"},
		{label: "ports 4", code: loadWord, k: offPorts4},
		{code: toX}, {code: shift, k: 16}, {code: xorX}, // one port and the other, in the lower half
		{code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, k: 0xffff},
		{label: "addresses 4", code: toX},
		{code: loadWord, k: offSource4}, {code: xorX}, {code: toX},
		{code: loadWord, k: offSource4 + 4}, {code: xorX},
		{code: jump, straight: "mix"},

		{label: "ipv6", code: loadLen},
		{code: atLeast, k: offPorts6 + portsLen, no: "others"},
		{code: loadByte, k: offProtocol6},
		{code: equal, k: uint32(packet.TCP), yes: "ports 6"},
		{code: equal, k: uint32(packet.UDP), yes: "ports 6"},
		{code: loadConst, k: 0},
		{code: jump, straight: "addresses 6"},
		{label: "ports 6", code: loadWord, k: offPorts6},
		{code: toX}, {code: shift, k: 16}, {code: xorX},
		{code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, k: 0xffff},
		{label: "addresses 6", code: toX},
	}
	for at := uint32(offSource6); at < offPorts6; at += 4 {
		list = append(list, step{code: loadWord, k: at}, step{code: xorX}, step{code: toX})
	}
	return append(list,
		step{code: fromX}, step{code: jump, straight: "mix"},

		// Stations, both with their last four bytes.
		step{label: "others", code: loadWord, k: 2}, step{code: toX}, step{code: loadWord, k: 8}, step{code: xorX},

		step{label: "mix", code: times, k: 0x9e3779b1}, step{code: shift, k: 16}, step{code: modulo, k: parts},
		step{code: equal, k: part, yes: "mine", no: "not mine"},
		step{label: "mine", code: verdict, k: ^uint32(0)},
		step{label: "not mine", code: verdict, k: 0},
	)
}

// assemble finds the distances of jumps.
func assemble(list []step) []unix.SockFilter {
	at := map[string]int{}
	for i, s := range list {
		if s.label != "" {
			at[s.label] = i
		}
	}
	program := make([]unix.SockFilter, len(list))
	for i, s := range list {
		distance := func(label string) int {
			if label == "" {
				return 0
			}
			return at[label] - i - 1
		}
		program[i] = unix.SockFilter{Code: s.code, K: s.k, Jt: uint8(distance(s.yes)), Jf: uint8(distance(s.no))}
		if s.straight != "" {
			program[i].K = uint32(distance(s.straight))
		}
	}
	return program
}
