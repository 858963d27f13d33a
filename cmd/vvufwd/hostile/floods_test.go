package hostile

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// flood says the same n times, many at once, and gives up when no one listens for
// a while.
func flood(g *guest, n int, m vhostuser.Message, giveUp time.Duration) error {
	const atOnce = 1000
	batch := bytes.Repeat(m.Append(nil), atOnce)
	for ; n > 0; n -= atOnce {
		g.sock.SetWriteDeadline(time.Now().Add(giveUp))
		if _, err := g.sock.Write(batch); err != nil {
			return err
		}
	}
	return nil
}

// Front-ends that say too much.
func TestFloods(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before := f.census(t)
	for _, c := range []struct {
		name    string
		n       int
		message vhostuser.Message
		heard   bool // all of it gets through, since no answer stands in the way
	}{
		{"questions", 100_000, vhostuser.NewRequest(vhostuser.GetFeatures, nil), false},
		{"news", 100_000, vhostuser.NewRequest(vhostuser.SetOwner, nil), true},
		{"refusals", cycles(t, 30_000, 100_000), vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Num: 3}), true},
		{"calls", cycles(t, 3000, 100_000), vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{NoFD: true}), true},
		{"features", cycles(t, 30_000, 100_000), vhostuser.NewRequest(vhostuser.SetFeatures, vhostuser.U64(defaultFeatures)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := join(t, f.sockets[0])
			defer func() { a.leave() }()
			mark := f.log.mark()
			giveUp := patience
			if !c.heard {
				giveUp = 300 * time.Millisecond
			}
			err := flood(a, c.n, c.message, giveUp)
			if !c.heard {
				if err == nil {
					t.Error("vvufwd answers without end a front-end that does not read")
				}
				a.leave()
				a = join(t, f.sockets[0])
			} else if err != nil {
				t.Fatal(err)
			}
			exchange(t, a, b)
			if said := len(f.log.find(mark, says("", ""))); said > 2000 {
				t.Errorf("the log grew by %d lines", said)
			}
		})
	}
	f.settled(t, before)
}

// Front-ends that say too little. The next one waits for its turn, and gets it.
func TestSilence(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before := f.census(t)
	table := vhostuser.NewRequest(vhostuser.SetMemTable, regions).Append(nil)
	for _, c := range []struct {
		name  string
		bytes []byte
		files bool
	}{
		{name: "nothing"},
		{name: "one byte", bytes: table[:1]},
		{name: "half a header", bytes: table[:7]},
		{name: "half a header with files", bytes: table[:7], files: true},
		{name: "header alone", bytes: table[:12]},
		{name: "header alone with files", bytes: table[:12], files: true},
		{name: "all but a byte", bytes: table[:len(table)-1], files: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			silent, err := newGuest(f.sockets[0], defaultFeatures)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.bytes) > 0 {
				var fds []int
				if c.files {
					fds = silent.ram.files()
				}
				if err := silent.raw(c.bytes, fds...); err != nil {
					t.Fatal(err)
				}
			}
			served := make(chan error, 1)
			a, err := newGuest(f.sockets[0], defaultFeatures)
			if err != nil {
				t.Fatal(err)
			}
			defer a.leave()
			a.fill()
			go func() { served <- a.start() }()
			select {
			case <-served:
				t.Error("two front-ends are served at once")
			case <-time.After(20 * time.Millisecond):
			}
			silent.leave()
			if err := <-served; err != nil {
				t.Fatalf("the next front-end did not get its turn: %v", err)
			}
			exchange(t, a, b)
		})
	}
	f.settled(t, before)
}

// A front-end that stops in the middle of a message, or does not take an answer,
// is given up after a while, though it keeps its connection.
func TestStalled(t *testing.T) {
	t.Parallel() // it only waits
	f := startForwarder(t, 4)
	stallers := []func(g *guest) error{
		func(g *guest) error { return g.raw([]byte{1, 0, 0, 0}) },
		func(g *guest) error { return g.raw(header(vhostuser.SetFeatures, vhostuser.Version, 8)) },
		func(g *guest) error {
			go flood(g, 100_000, vhostuser.NewRequest(vhostuser.GetFeatures, nil), time.Minute)
			return nil
		},
	}
	for i, stall := range stallers {
		g, err := newGuest(f.sockets[i], defaultFeatures)
		if err != nil {
			t.Fatal(err)
		}
		defer g.leave()
		if err := stall(g); err != nil {
			t.Fatal(err)
		}
	}
	const given = 10 * time.Second // to a front-end, by vvufwd
	for i := range stallers {
		next, err := newGuest(f.sockets[i], defaultFeatures)
		if err != nil {
			t.Fatal(err)
		}
		defer next.leave()
		if err := next.say(vhostuser.GetFeatures, nil); err != nil {
			t.Fatal(err)
		}
		next.sock.SetReadDeadline(time.Now().Add(given + patience))
		var b [20]byte
		if _, err := next.sock.Read(b[:]); err != nil {
			t.Errorf("staller %d is not given up: %v", i, err)
		}
	}
}

// A crowd at the door.
func TestCrowd(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	before := f.census(t)
	var crowd []*wire
	for range 300 {
		w, err := dial(f.sockets[0])
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, w)
		if err := w.say(vhostuser.GetFeatures, nil); err != nil && !errors.Is(err, unix.EPIPE) { // those whom the door has no room for
			t.Fatal(err)
		}
	}
	const waiting, closing = 8, 16 // at the door, and in the bin
	if now := f.census(t); now.files > before.files+waiting+closing+4 || now.threads > before.threads+6 {
		t.Errorf("a crowd of 300 costs too much: %v before, %v now", before, now)
	}
	for _, w := range crowd {
		w.close()
	}
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	exchange(t, a, b)
	a.leave()
	b.leave()
	f.settled(t, before)
}
