package hostile

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// attackedPairs is how many queue pairs the attackers have: as many as have room in
// front of the buffers.
const attackedPairs = 4

// manyQueues is a front-end with several queue pairs that starts, stops, enables and
// disables them at random, with frames on their way.
type manyQueues struct {
	*guest
	all [2 * attackedPairs]*ring
	rnd *rand.Rand
}

func newManyQueues(path string, rnd *rand.Rand) (*manyQueues, error) {
	g, err := newGuest(path, defaultFeatures|virtio.NetMQ)
	if err != nil {
		return nil, err
	}
	m := &manyQueues{guest: g, rnd: rnd}
	for i := range m.all {
		m.all[i] = &ring{ram: g.ram, index: i, place: i}
		if i%2 == transmitRing {
			for k := range ringEntries {
				m.all[i].set(k, desc{Addr: scratchGPA, Len: 100})
				m.all[i].offer(uint16(k))
			}
		} else if rnd.IntN(2) == 0 { // else what is sent to it waits
			for k := range ringEntries {
				m.all[i].set(k, desc{Addr: scratchGPA + 1<<16, Len: 2048, Flags: 2})
				m.all[i].offer(uint16(k))
			}
		}
	}
	return m, m.play(g.script()[:6])
}

// begin starts ring i where it stands.
func (m *manyQueues) begin(i int) error {
	index := uint32(i)
	return m.play([]message{
		{request: vhostuser.SetVringNum, payload: vhostuser.VringState{Index: index, Num: ringEntries}},
		{request: vhostuser.SetVringAddr, payload: m.all[i].address()},
		{request: vhostuser.SetVringKick, payload: vhostuser.VringFD{Index: uint8(i)}, fds: m.kicks[i%2 : i%2+1]},
		{request: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: index, Num: 1}},
	})
}

// rage does n random things to its queue pairs, after some of which the memory is gone.
func (m *manyQueues) rage(n int) error {
	for i := range m.all {
		if err := m.begin(i); err != nil {
			return err
		}
	}
	cut := m.rnd.IntN(2 * n)
	for k := range n {
		if k == cut {
			unix.Ftruncate(m.ram.fd, 0)
		}
		i := m.rnd.IntN(len(m.all))
		var err error
		switch m.rnd.IntN(4) {
		case 0:
			if _, err = m.stop(i); err == nil {
				err = m.begin(i)
			}
		default:
			err = m.play([]message{{request: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: uint32(i), Num: uint32(m.rnd.IntN(2))}}})
		}
		if err != nil {
			return err // vvufwd has ended the session, as it may when memory is gone
		}
	}
	return m.barrier()
}

// Both ends of a link start, stop, enable and disable queue pairs all the time, and cut
// their memory while frames wait. Another link on the same loops loses nothing, and the
// attackers' sockets stay good.
func TestQueuePairsComeAndGo(t *testing.T) {
	f := startForwarder(t, 4, "--queues=4")
	startVictim(t, f, 2, 3, gentle...)
	before := f.census(t)
	var attackers sync.WaitGroup
	var sessions [2]int
	end := time.Now().Add(time.Duration(cycles(t, 1500, 30_000)) * time.Millisecond)
	for i := range sessions {
		attackers.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			for time.Now().Before(end) || sessions[i] < 2 {
				m, err := newManyQueues(f.sockets[i], rnd)
				if err != nil {
					t.Errorf("session %d at %s: %v", sessions[i], f.sockets[i], err)
					return
				}
				m.rage(100)
				m.leave()
				sessions[i]++
			}
		})
	}
	attackers.Wait()
	t.Logf("%d and %d sessions", sessions[0], sessions[1])
	f.alive(t)
	f.settled(t, before)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	exchange(t, a, b)
}

// A guest cuts its memory while frames of it wait for queue pairs of its peer, and the
// peer changes which it uses: the frames have to be sorted again. No one but the guest's
// own port minds that they are gone.
func TestMemoryVanishesUnderWaitingFrames(t *testing.T) {
	f := startForwarder(t, 4, "--queues=4", "--idle-after=-1s") // a loop that looks at no ring without need
	startVictim(t, f, 2, 3, gentle...)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		a, err := newManyQueues(f.sockets[0], rnd)
		if err != nil {
			t.Fatal(err)
		}
		b, err := newManyQueues(f.sockets[1], rnd)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			b.all[i].clear() // no buffers, no frames
			if err := b.begin(i); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if err := a.begin(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.barrier(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // until they wait
		if err := unix.Ftruncate(a.ram.fd, 0); err != nil {
			t.Fatal(err)
		}
		for k := range uint32(8) {
			if err := b.play([]message{{request: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: 4, Num: k % 2}}}); err != nil {
				t.Fatal(err)
			}
			if err := b.barrier(); err != nil {
				f.alive(t)
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // until queue pairs are assigned again
		}
		f.alive(t)
		a.leave()
		b.leave()
	}
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	exchange(t, a, b)
}
