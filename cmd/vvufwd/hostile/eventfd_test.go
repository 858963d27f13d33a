package hostile

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// full is what fills an eventfd's counter to the brim.
var full = []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// setBlocking changes a file that two processes share: the flag is the file's, not
// the descriptor's.
func setBlocking(t *testing.T, fd int, blocking bool) {
	t.Helper()
	if err := unix.SetNonblock(fd, !blocking); err != nil {
		t.Error(err)
	}
}

// fillUp fills an eventfd's counter without waiting.
func fillUp(t *testing.T, fd int) {
	t.Helper()
	var b [8]byte
	unix.Read(fd, b[:])
	if _, err := unix.Write(fd, full); err != nil {
		t.Error(err)
	}
}

// A front-end shares eventfds, and with them the flag that says whether to wait. It
// must not be able to make the forwarder wait in a write or a read.
func TestEventFDsThatBlock(t *testing.T) {
	t.Run("call", func(t *testing.T) {
		f := startForwarder(t, 4)
		startVictim(t, f, 2, 3, gentle...)
		a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
		defer b.leave()
		exchange(t, a, b)
		for i := range a.calls {
			fillUp(t, a.calls[i])
			setBlocking(t, a.calls[i], true)
		}
		for range ringEntries {
			b.send(testFrame(0, 100))
			a.send(testFrame(0, 100))
		}
		time.Sleep(50 * time.Millisecond)
		a.leave()
		a = join(t, f.sockets[0])
		defer a.leave()
		exchange(t, a, b)
	})
	t.Run("kick", func(t *testing.T) {
		f := startForwarder(t, 4, "--idle-after=0s")
		startVictim(t, f, 2, 3, gentle...)
		a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
		defer b.leave()
		exchange(t, a, b)
		setBlocking(t, a.kicks[transmitRing], true)
		if err := stealKicks(a, time.Second); err != nil {
			t.Fatalf("vvufwd waits for a kick that was taken away: %v", err)
		}
		a.leave()
		a = join(t, f.sockets[0])
		defer a.leave()
		exchange(t, a, b)
	})
	t.Run("one for everything", func(t *testing.T) {
		f := startForwarder(t, 4)
		startVictim(t, f, 2, 3, gentle...)
		a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
		defer a.leave()
		defer b.leave()
		for i := range a.rings {
			for _, r := range []vhostuser.Request{vhostuser.SetVringKick, vhostuser.SetVringCall} {
				if err := a.say(r, vhostuser.VringFD{Index: uint8(i)}, a.calls[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := a.barrier(); err != nil {
			t.Fatal(err)
		}
		a.kicks = [2]int{a.calls[0], a.calls[0]}
		exchange(t, a, b)
	})
}

// stealKicks kicks and takes each kick away again as fast as it can, so that whoever
// was told of it finds none. After each it asks for something that the forwarder has
// to notice, asleep or not.
func stealKicks(g *guest, during time.Duration) error {
	fd, quit, done := g.kicks[transmitRing], make(chan struct{}), make(chan struct{})
	defer func() { close(quit); <-done }()
	go func() {
		defer close(done)
		var b [8]byte
		for {
			select {
			case <-quit:
				return
			default: // this does not wait, whatever the file's flag says
				unix.Preadv2(fd, [][]byte{b[:]}, -1, unix.RWF_NOWAIT)
			}
		}
	}()
	for n, end := uint32(0), time.Now().Add(during); time.Now().Before(end); n++ {
		g.kick(transmitRing)
		if err := g.say(vhostuser.SetVringEnable, state(n%2)(transmitRing)); err != nil {
			return err
		}
		if err := g.barrier(); err != nil {
			return err
		}
	}
	return nil
}
