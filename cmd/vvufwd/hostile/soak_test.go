package hostile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// assault plays one attack after the other, at random.
type assault struct {
	socket string
	rnd    *rand.Rand
	played map[string]int
}

// play plays one attack over a connection of its own. An error says that vvufwd did
// not let a front-end in, or did not react.
func (s *assault) play() error {
	type attack struct {
		name string
		play func(g *guest) error
	}
	attacks := []attack{
		{"broken rings", s.breakRings}, {"racing descriptors", s.race}, {"vanishing memory", s.cutMemory}, {"holes", s.punchHoles},
		{"table swaps", s.swapTables}, {"flood", s.flood}, {"kick storm", s.storm}, {"leaving early", nil},
	}
	if s.rnd.IntN(30) == 0 { // vvufwd makes whoever comes after such a front-end wait
		attacks = []attack{
			{"random messages", s.randomMessages}, {"random bytes", s.randomBytes},
			{"messages in disorder", s.disorder}, {"wrong files", s.wrongFiles},
		}
	}
	a := attacks[s.rnd.IntN(len(attacks))]
	g, err := newGuest(s.socket, defaultFeatures)
	if err != nil {
		return err
	}
	g.fill()
	s.played[a.name]++
	if a.play == nil {
		script := g.script()
		err := g.play(script[:s.rnd.IntN(len(script))])
		return errors.Join(err, g.leave())
	}
	if err := g.start(); err != nil {
		return fmt.Errorf("before %s: %w", a.name, errors.Join(err, g.leave()))
	}
	if err := a.play(g); err != nil {
		return fmt.Errorf("%s: %w", a.name, errors.Join(err, g.leave()))
	}
	return g.leave()
}

func (s *assault) breakRings(g *guest) error {
	for range 10 {
		a, i := ringAttacks[s.rnd.IntN(len(ringAttacks))], s.rnd.IntN(2)
		if err := g.restart(i, false); err != nil {
			return err
		}
		a.play(g.rings[i], [2]uint16{receiveRing: vring.DescWrite}[i])
		g.kick(i)
		if err := g.barrier(); err != nil {
			return err
		}
	}
	return nil
}

func (s *assault) race(g *guest) error {
	for i := range g.rings {
		if err := g.restart(i, false); err != nil {
			return err
		}
		r, w := g.rings[i], [2]uint16{receiveRing: vring.DescWrite}[i]
		fl := flip(g.ram.at(r.base(), 4*vring.DescSize), 4, []desc{
			{Addr: scratchGPA, Len: 100, Flags: w}, {Addr: scratchGPA, Len: 300, Flags: w | vring.DescNext, Next: uint16(s.rnd.IntN(5))},
			{Addr: scratchGPA, Len: s.rnd.Uint32(), Flags: w}, {Addr: endGPA - 20, Len: 64, Flags: w},
		})
		for range 20 {
			r.offer(0, 1, 2, 3)
			g.kick(i)
			time.Sleep(50 * time.Microsecond)
		}
		fl.end()
	}
	return g.barrier()
}

// ended forgives what a front-end meets whose session was ended.
func ended(err error) error {
	if vhostuser.PeerClosed(err) {
		return nil
	}
	return err
}

func (s *assault) randomMessages(g *guest) error {
	for range 5 {
		r := vhostuser.Request(s.rnd.IntN(46))
		size := s.rnd.IntN(64)
		if s.rnd.IntN(2) == 0 {
			size = rightSizes[r]
		}
		b := header(r, vhostuser.Version|vhostuser.FlagNeedReply*uint32(s.rnd.IntN(2)), uint32(size))
		for range size {
			b = append(b, byte(s.rnd.Uint32()>>s.rnd.IntN(32)))
		}
		if err := g.raw(b); err != nil {
			return ended(err)
		}
	}
	_, err := g.listening(vhostuser.SetOwner)
	return err
}

func (s *assault) randomBytes(g *guest) error {
	b := make([]byte, s.rnd.IntN(5000))
	for i := range b {
		b[i] = byte(s.rnd.Uint32())
	}
	return ended(g.raw(b))
}

func (s *assault) disorder(g *guest) error {
	script := g.script()
	s.rnd.Shuffle(len(script), func(i, k int) { script[i], script[k] = script[k], script[i] })
	return ended(g.play(script))
}

func (s *assault) wrongFiles(g *guest) error {
	requests := []vhostuser.Request{vhostuser.SetMemTable, vhostuser.AddMemReg, vhostuser.SetVringKick, vhostuser.SetVringCall, vhostuser.GetFeatures}
	r := requests[s.rnd.IntN(len(requests))]
	body := append(header(r, vhostuser.Version, uint32(rightSizes[r])), make([]byte, rightSizes[r])...)
	if err := g.raw(body, same([]int{g.ram.fd, g.kicks[0], unix.Stdin}[s.rnd.IntN(3)], s.rnd.IntN(40))...); err != nil {
		return ended(err)
	}
	_, err := g.listening(r)
	return err
}

func (s *assault) cutMemory(g *guest) error {
	tr := startTraffic(g)
	time.Sleep(time.Duration(s.rnd.IntN(1000)) * time.Microsecond)
	err := unix.Ftruncate(g.ram.fd, 0)
	for range 5 {
		g.kick(s.rnd.IntN(2))
		time.Sleep(100 * time.Microsecond)
	}
	tr.stop()
	return err
}

func (s *assault) punchHoles(g *guest) error {
	tr := startTraffic(g)
	time.Sleep(time.Duration(s.rnd.IntN(1000)) * time.Microsecond)
	err := unix.Fallocate(g.ram.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, touched)
	time.Sleep(time.Millisecond)
	tr.stop()
	return err
}

func (s *assault) swapTables(g *guest) error {
	tr := startTraffic(g)
	defer tr.stop()
	for range 10 {
		table := regions[s.rnd.IntN(3):]
		if err := g.say(vhostuser.SetMemTable, table, same(g.ram.fd, len(table))...); err != nil {
			return err
		}
	}
	return g.barrier()
}

func (s *assault) flood(g *guest) error {
	requests := []vhostuser.Request{vhostuser.GetFeatures, vhostuser.SetOwner, vhostuser.ResetDevice}
	flood(g, 5000, vhostuser.NewRequest(requests[s.rnd.IntN(len(requests))], nil), 50*time.Millisecond)
	return nil
}

func (s *assault) storm(g *guest) error {
	for range 10_000 {
		g.kick(s.rnd.IntN(2))
	}
	return g.barrier()
}

// Random attacks on one pair for a long time, while another forwards as fast as it
// can; then front-ends that come, go and get killed; then a check of every frame.
func TestSoak(t *testing.T) {
	t.Parallel() // with TestStalled, which only waits
	f := startForwarder(t, 4)
	v := startVictim(t, f, 2, 3, "--size=256")
	b := join(t, f.sockets[1])
	length, period := soakTime(t), 10*time.Second
	phases := newPhases()
	if length == 0 { // for a stall the good neighbour is comparison enough
		phases = phases[1:]
		period = 2500 * time.Millisecond
		length = time.Duration(len(phases)) * period
	}
	warm := f.census(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &assault{socket: f.sockets[0], rnd: rand.New(rand.NewPCG(seed, 0)), played: map[string]int{}}
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, p := range phases {
			p.begin()
			for stop := time.Now().Add(period); time.Now().Before(stop); {
				if err := p.play(f, b, s); err != nil {
					t.Fatalf("%s: %v", p.name, err)
				}
				f.alive(t)
			}
			p.end()
		}
	}
	report(t, phases, v.progress(), length >= time.Minute)
	total := 0
	for name, n := range s.played {
		t.Logf("%6d x %s", n, name)
		total += n
	}
	if total == 0 {
		t.Error("nothing was attacked")
	}
	a := join(t, f.sockets[0])
	exchange(t, a, b)
	a.leave()
	t.Logf("%v before, %v after", warm, f.settled(t, warm))
	b.leave()

	reconnects(t, f, cycles(t, 20, 1000))
	kills(t, f, cycles(t, 2, 200))
	const frames = 100_000
	passed := launchVictim(t, f.sockets[0], f.sockets[1], fmt.Sprint("--count=", frames)).judge(t)
	for _, n := range passed {
		if n != frames {
			t.Errorf("%d frames passed, want %d", n, frames)
		}
	}
}
