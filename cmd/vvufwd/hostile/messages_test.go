package hostile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"vvufwd/vvu/vhostuser"
)

// rightSizes are the payload sizes of the requests that have one.
var rightSizes = map[vhostuser.Request]int{
	vhostuser.SetFeatures: 8, vhostuser.SetMemTable: 8 + 32*5, vhostuser.SetLogBase: 16,
	vhostuser.SetVringNum: 8, vhostuser.SetVringAddr: 40, vhostuser.SetVringBase: 8, vhostuser.GetVringBase: 8,
	vhostuser.SetVringKick: 8, vhostuser.SetVringCall: 8, vhostuser.SetVringErr: 8,
	vhostuser.SetProtocolFeatures: 8, vhostuser.SetVringEnable: 8, vhostuser.SendRARP: 8, vhostuser.NetSetMTU: 8,
	vhostuser.IOTLBMsg: 32, vhostuser.SetVringEndian: 8, vhostuser.GetConfig: 12 + 16, vhostuser.SetConfig: 12 + 6,
	vhostuser.GetInflightFD: 24, vhostuser.SetInflightFD: 24, vhostuser.VringKick: 8,
	vhostuser.AddMemReg: 40, vhostuser.RemMemReg: 40, vhostuser.SetStatus: 8,
}

// allRequests are the defined ones, and some that no one defined.
func allRequests() (all []vhostuser.Request) {
	for r := range vhostuser.Request(46) {
		all = append(all, r)
	}
	return append(all, 255, 1<<31, 1<<32-1)
}

// Every request, with every wrong size, before and while rings run.
func TestMessageSizes(t *testing.T) {
	var cases []messageCase
	for _, r := range allRequests() {
		for _, size := range sizesOf(t, r) {
			cases = append(cases, variants(t, r, size)...)
		}
		for _, size := range []uint32{vhostuser.MaxPayload + 1, 1 << 31, 1<<32 - 1} {
			if size != 1<<32-1 && cycles(t, 0, 1) == 0 {
				continue
			}
			cases = append(cases, messageCase{
				name: fmt.Sprintf("%v announces %d bytes", r, size), request: r,
				play: func(g *guest) error { return g.raw(header(r, vhostuser.Version, size)) },
			})
		}
	}
	runCases(t, cases)
}

func sizesOf(t *testing.T, r vhostuser.Request) (sizes []int) {
	right := rightSizes[r]
	if cycles(t, 0, 1) == 1 {
		for n := range right + 9 {
			sizes = append(sizes, n)
		}
		return append(sizes, 264, vhostuser.MaxPayload)
	}
	for _, n := range []int{0, right - 1, right, right + 1, right + 8} {
		if n >= 0 && (len(sizes) == 0 || n > sizes[len(sizes)-1]) {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// variants are a message of some size with rings at rest or running, with and
// without need_reply, filled with this or that; in the short form one of them.
func variants(t *testing.T, r vhostuser.Request, size int) (cases []messageCase) {
	for _, fill := range []byte{0, 0xff, 1} {
		for _, running := range []bool{false, true} {
			for _, flags := range []uint32{vhostuser.Version, vhostuser.Version | vhostuser.FlagNeedReply} {
				body := append(header(r, flags, uint32(size)), bytes.Repeat([]byte{fill}, size)...)
				cases = append(cases, messageCase{
					name:    fmt.Sprintf("%v of %d bytes of %#x, flags %#x, running %v", r, size, fill, flags, running),
					request: r, running: running,
					play: func(g *guest) error { return g.raw(body) },
				})
			}
		}
	}
	if cycles(t, 0, 1) == 1 {
		return cases
	}
	pick := (int(r) + size) % len(cases)
	return cases[pick : pick+1]
}

// Versions and flags that no request has.
func TestMessageFlags(t *testing.T) {
	var cases []messageCase
	for _, flags := range []uint32{0, 2, 3, vhostuser.ReplyFlags, vhostuser.ReplyFlags | vhostuser.FlagNeedReply, 1 << 31, 1<<32 - 1, 1<<32 - 3, 1<<31 | 1} {
		for _, m := range []message{
			{request: vhostuser.GetFeatures}, {request: vhostuser.SetOwner},
			{request: vhostuser.SetVringEnable, payload: vhostuser.VringState{Num: 1}},
			{request: vhostuser.GetVringBase, payload: vhostuser.VringState{}},
		} {
			cases = append(cases, messageCase{
				name: fmt.Sprintf("%v with flags %#x", m.request, flags), request: m.request, running: flags%2 == 0,
				play: func(g *guest) error {
					b := vhostuser.NewRequest(m.request, m.payload).Append(nil)
					copy(b[4:], header(0, flags, 0)[4:8])
					return g.raw(b)
				},
			})
		}
	}
	runCases(t, cases)
}

// Numbers that make no sense, in messages that are well-formed.
func TestAbsurdNumbers(t *testing.T) {
	var cases []messageCase
	add := func(r vhostuser.Request, p vhostuser.Payload, fds func(g *guest) []int) {
		for _, running := range []bool{false, true} {
			cases = append(cases, messageCase{
				name: fmt.Sprintf("%v %+v running %v", r, p, running), request: r, running: running,
				play: func(g *guest) error {
					m := vhostuser.NewRequest(r, p)
					m.Flags |= vhostuser.FlagNeedReply
					var files []int
					if fds != nil {
						files = fds(g)
					}
					return g.raw(m.Append(nil), files...)
				},
			})
		}
	}
	for _, index := range []uint32{0, 1, 2, 127, 128, 255, 256, 1 << 16, 1<<16 + 1, 1 << 31, 1<<32 - 1} {
		for _, r := range []vhostuser.Request{vhostuser.SetVringNum, vhostuser.SetVringBase, vhostuser.GetVringBase, vhostuser.SetVringEnable} {
			add(r, vhostuser.VringState{Index: index, Num: 1}, nil)
		}
		add(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: index, Desc: 1, Used: 1<<64 - 1, Avail: 1 << 63}, nil)
		for _, r := range []vhostuser.Request{vhostuser.SetVringKick, vhostuser.SetVringCall, vhostuser.SetVringErr} {
			add(r, vhostuser.U64(index), func(g *guest) []int { return g.kicks[:1] })
			add(r, vhostuser.U64(index)|1<<8, nil)
		}
	}
	for _, num := range []uint32{0, 3, 1 << 15, 1<<15 + 1, 1 << 16, 1<<16 - 1, 1 << 31, 1<<32 - 1} {
		add(vhostuser.SetVringNum, vhostuser.VringState{Num: num}, nil)
		add(vhostuser.SetVringBase, vhostuser.VringState{Num: num}, nil)
		add(vhostuser.SetVringEnable, vhostuser.VringState{Num: num}, nil)
	}
	for _, n := range []uint64{0, 1 << 8, 1 << 63, 1<<64 - 1} {
		for _, r := range []vhostuser.Request{vhostuser.SetFeatures, vhostuser.SetProtocolFeatures, vhostuser.SetStatus, vhostuser.NetSetMTU} {
			add(r, vhostuser.U64(n), nil)
		}
	}
	for _, table := range []vhostuser.MemoryTable{
		{},
		{{GPA: 0, Size: 0, UVA: 1 << 40}},
		{{GPA: 1<<64 - 4096, Size: 8192, UVA: 1 << 40}},
		{{GPA: 0, Size: 4096, UVA: 1<<64 - 4096}},
		{{GPA: 0, Size: 1 << 63, UVA: 1 << 40}},
		{{GPA: 0, Size: 4096, UVA: 1 << 40, Offset: 1<<64 - 4096}},
		{{GPA: 0, Size: 4096, UVA: 1 << 40, Offset: 1 << 62}},
		{{GPA: 0, Size: 8192, UVA: 1 << 40}, {GPA: 4096, Size: 8192, UVA: 1 << 41}},
		{{GPA: 0, Size: 8192, UVA: 1 << 40}, {GPA: 8192, Size: 8192, UVA: 1<<40 + 4096}},
		{{GPA: 1, Size: 4095, UVA: 1<<40 + 1, Offset: 1}},
		tableOf(32), tableOf(33), tableOf(100),
	} {
		add(vhostuser.SetMemTable, table, func(g *guest) []int { return same(g.ram.fd, len(table)) })
	}
	runCases(t, cases)
}

// tableOf is a table of n small regions.
func tableOf(n int) (table vhostuser.MemoryTable) {
	for i := range uint64(n) {
		table = append(table, vhostuser.MemoryRegion{GPA: i << 20, Size: 4096, UVA: 1<<40 + i<<20, Offset: i << 12})
	}
	return table
}

// same is one descriptor n times.
func same(fd, n int) []int {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = fd
	}
	return fds
}

// The right messages in any order, some left out, some repeated.
func TestMessageOrder(t *testing.T) {
	var cases []messageCase
	for seed := range uint64(cycles(t, 60, 3000)) {
		cases = append(cases, messageCase{
			name: fmt.Sprintf("order of seed %d", seed), running: seed%2 == 0, request: vhostuser.SetOwner,
			play: func(g *guest) error {
				rnd := rand.New(rand.NewPCG(seed, 0))
				script := append(g.script(),
					message{request: vhostuser.GetVringBase, payload: vhostuser.VringState{Index: uint32(rnd.IntN(2))}},
					message{request: vhostuser.ResetDevice}, message{request: vhostuser.ResetOwner})
				rnd.Shuffle(len(script), func(i, k int) { script[i], script[k] = script[k], script[i] })
				return g.play(script[:rnd.IntN(len(script)+1)])
			},
		})
	}
	runCases(t, cases)
}

// Bytes without sense.
func TestRandomBytes(t *testing.T) {
	var cases []messageCase
	for seed := range uint64(cycles(t, 100, 5000)) {
		cases = append(cases, messageCase{
			name: fmt.Sprintf("bytes of seed %d", seed), running: seed%3 == 0,
			play: func(g *guest) error {
				rnd := rand.New(rand.NewPCG(seed, 1))
				b := make([]byte, vhostuser.HeaderSize+rnd.IntN(8000))
				for i := range b {
					b[i] = byte(rnd.Uint32())
				}
				if seed%2 == 0 { // a plausible beginning
					copy(b, header(vhostuser.Request(rnd.IntN(45)), vhostuser.Version, uint32(rnd.IntN(300))))
				}
				if err := g.raw(b, g.kicks[0]); err != nil {
					return err
				}
				return g.sock.CloseWrite() // it may wait for more
			},
		})
	}
	runCases(t, cases)
}
