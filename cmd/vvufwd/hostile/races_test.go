package hostile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"vvufwd/virtio/vring"
)

// flipper rewrites descriptors while they are read, from a thread of its own.
type flipper struct {
	stop chan struct{}
	done chan struct{}
}

// flip writes one of the choices into a random one of the first n descriptors of
// a table, again and again, each in two halves.
func flip(table []byte, n int, choices []desc) *flipper {
	f := &flipper{make(chan struct{}), make(chan struct{})}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&table[0])), n*2)
	var images [][2]uint64
	for _, d := range choices {
		var b [vring.DescSize]byte
		putDesc(b[:], 0, d)
		images = append(images, [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])})
	}
	go func() {
		defer close(f.done)
		rnd := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			for range 1000 {
				i, image := rnd.IntN(n), images[rnd.IntN(len(images))]
				atomic.StoreUint64(&words[2*i], image[0])
				atomic.StoreUint64(&words[2*i+1], image[1])
			}
			runtime.Gosched()
		}
	}()
	return f
}

func (f *flipper) end() { close(f.stop); <-f.done }

// secret fills what the guest may send, so that nothing else can pass for it.
const secret = 0x5a

// Descriptors and tables that change between check and use. Whatever vvufwd makes
// of them, the partner gets only bytes of the guest's own, the process lives, and a
// new start fixes the ring.
func TestRacingDescriptors(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	during := time.Duration(cycles(t, 250, 5000)) * time.Millisecond
	for i, name := range ringNames {
		w := [2]uint16{receiveRing: vring.DescWrite}[i]
		sound := desc{Addr: scratchGPA, Len: 100, Flags: w}
		choices := []desc{
			sound, sound, sound, sound, sound, sound, // so that some are used before one breaks the ring
			{Addr: scratchGPA, Len: 1<<32 - 1, Flags: w}, {Addr: scratchGPA, Len: 0, Flags: w},
			{Addr: scratchGPA, Len: 300, Flags: w | vring.DescNext, Next: 1}, {Addr: endGPA - 20, Len: 100, Flags: w | vring.DescNext, Next: 2},
			{Addr: nowhere, Len: 100, Flags: w}, {Addr: 1<<64 - 10, Len: 100, Flags: w | vring.DescNext, Next: 3},
			{Addr: scratchGPA, Len: 100, Flags: w ^ vring.DescWrite}, {Addr: scratchGPA, Len: 2048, Flags: w | vring.DescNext, Next: 1 << 15},
		}
		for _, c := range []struct {
			name  string
			table bool
			more  []desc
		}{
			// Halves of different descriptors meet: all that any address leads to has to be secret, the table too.
			{"ring", false, []desc{{Addr: scratchGPA, Len: 64, Flags: vring.DescIndirect}}},
			{"table", true, []desc{{Addr: scratchGPA, Len: 64, Flags: vring.DescIndirect}}},
			{"lengths", false, []desc{{Addr: scratchGPA, Len: 64, Flags: w}, {Addr: scratchGPA, Len: 2000, Flags: w}}},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				a := joinWith(t, f.sockets[0], defaultFeatures, false)
				defer func() { a.leave() }()
				all := append(c.more, choices...)
				if c.name == "lengths" {
					all = c.more // nothing that breaks the ring
				}
				rounds, err := raceRing(a, b, i, c.table, all, during)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d offers, %d new starts", rounds[0], rounds[1])
				if rounds[0] == 0 {
					t.Error("nothing was offered")
				}
				f.alive(t)
				a.leave()
				a = join(t, f.sockets[0])
				exchange(t, a, b)
			})
		}
	}
}

// raceRing offers chains of descriptors that change all the time. It returns how
// many were used and how often the ring had to be started again.
func raceRing(a, b *guest, i int, table bool, choices []desc, during time.Duration) (rounds [2]int, err error) {
	r := a.rings[i]
	for _, p := range [][]byte{a.ram.at(scratchGPA, int(endGPA-scratchGPA)), a.ram.next(4096)} {
		for k := range p {
			p[k] = secret
		}
	}
	words, n := a.ram.at(r.base(), 4*vring.DescSize), 4
	if table {
		words = a.ram.at(r.table(), 4*vring.DescSize)
	}
	fl := flip(words, n, choices)
	defer func() { fl.end() }()
	end := time.Now().Add(during)
	enough := end.Add(patience) // on a busy machine it takes its time until one is used
	for now := time.Now(); now.Before(end) || rounds[0] == 0 && now.Before(enough); now = time.Now() {
		if table {
			r.set(0, desc{Addr: r.table(), Len: 4 * vring.DescSize, Flags: vring.DescIndirect})
		}
		before := r.usedIdx()
		for range ringEntries / 4 {
			r.offer(0)
		}
		a.kick(i)
		if i == receiveRing {
			for range ringEntries / 4 {
				b.send(testFrame(0, 80))
			}
		}
		if err := onlySecrets(b, i == transmitRing); err != nil {
			return rounds, err
		}
		for wait := 0; r.usedIdx()-before < ringEntries/4 && wait < 3; wait++ {
			time.Sleep(time.Millisecond)
		}
		if n := r.usedIdx() - before; n > 0 {
			rounds[0] += int(n)
			continue
		}
		fl.end() // it is stopped
		err := a.restart(i, false)
		fl = flip(words, n, choices)
		if err != nil {
			return rounds, err
		}
		rounds[1]++
	}
	return rounds, nil
}

// onlySecrets takes what the guest sent and looks for bytes that are not its own.
func onlySecrets(b *guest, look bool) error {
	for {
		frame, err := b.receive()
		if frame == nil || err != nil {
			return err
		}
		for k, v := range frame {
			if look && v != secret {
				return fmt.Errorf("byte %d of a frame of %d is %#x: not the sender's", k, len(frame), v)
			}
		}
	}
}

// Buffers that lie over the rings themselves: what vvufwd writes into them changes
// the rings under its hands.
func TestBuffersOverRings(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	places := map[string]uint64{"descriptors": 0, "avail ring": availAt, "used ring": usedAt}
	for name, off := range places {
		for owner, other := range ringNames {
			t.Run("frames over the "+other+" ring's "+name, func(t *testing.T) {
				a := joinWith(t, f.sockets[0], defaultFeatures, false)
				defer func() { a.leave() }()
				r := a.rings[receiveRing]
				r.chain(0, vring.DescWrite, part(a.rings[owner].base()+off-64, 2048))
				for range ringEntries {
					r.offer(0)
				}
				a.kick(receiveRing)
				for n := range 80 {
					frame := testFrame(uint64(n), 1000)
					for k := 14; k < len(frame); k++ {
						frame[k] = byte(n) // small numbers are plausible as indexes, large ones not
					}
					if err := b.send(frame); err == errFull {
						b.doze(transmitRing)
					}
					a.kick(transmitRing)
				}
				f.alive(t)
				for i := range a.rings {
					if err := a.restart(i, true); err != nil {
						t.Fatal(err)
					}
				}
				exchange(t, a, b)
				a.leave()
				a = join(t, f.sockets[0])
				exchange(t, a, b)
			})
		}
	}
	t.Run("frames made of rings", func(t *testing.T) {
		a := join(t, f.sockets[0])
		defer a.leave()
		r := a.rings[transmitRing]
		for _, off := range places {
			r.chain(0, 0, part(r.base()+off, 200))
			r.offer(0)
			a.kick(transmitRing)
			eventually(t, "the frame is taken", func() bool { return r.usedIdx() == r.avail })
		}
		r.used = r.usedIdx()
		exchange(t, a, b)
	})
}
