package soak

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// TestSoak attacks one vvudev through its front-end socket while another one's pair goes on.
func TestSoak(t *testing.T) {
	good, bad := startVvudev(t, "good"), startVvudev(t, "bad")
	d := startDriver(t, good, bad)
	neighbour, err := boot(good)
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Uint64
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for k := uint64(0); ; k++ {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			if err := exchange(neighbour, d.wires[0], k); err != nil {
				ended <- err
				return
			}
			passed.Store(k + 1)
		}
	}()
	s := &assault{vvudev: bad, rnd: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)), played: map[string]int{}}
	comesAndGoes := func(k uint64) {
		t.Helper()
		app, err := boot(bad)
		if err != nil {
			t.Fatalf("a good front-end after %v: %v: %s", s.played, err, bad.said())
		}
		d.wires[1].Discard()
		for i := range uint64(20) {
			if err := exchange(app, d.wires[1], k+i); err != nil {
				t.Fatalf("a good front-end after %v: %v", s.played, err)
			}
		}
		if err := app.Halt(); err != nil {
			t.Fatal(err)
		}
	}
	// What is counted first has seen every kind of visitor.
	for range 2 {
		s.all(t)
		comesAndGoes(0)
	}
	self := os.Getpid()
	before := [3]census{count(t, good.cmd.Process.Pid), count(t, bad.cmd.Process.Pid), count(t, self)}
	goroutines := runtime.NumGoroutine()
	last, begin := passed.Load(), time.Now()
	for stop := begin.Add(soakTime(t)); time.Now().Before(stop); {
		for range 20 {
			s.play(t)
		}
		comesAndGoes(uint64(s.total()))
		// The neighbour's turns are its own: it gets on, whatever happens next door.
		if now := passed.Load(); now == last {
			select {
			case err := <-ended:
				t.Fatalf("the neighbour: %v, while these were played: %v", err, s.played)
			default:
				t.Fatalf("the neighbour got nowhere while these were played: %v", s.played)
			}
		} else {
			last = now
		}
	}
	close(end)
	if err := <-ended; err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	t.Logf("%v: the neighbour exchanged %d frames; %d attacks: %v", time.Since(begin).Round(time.Second), 2*passed.Load(), s.total(), s.played)
	settles(t, "the neighbour's vvudev", good.cmd.Process.Pid, before[0])
	settles(t, "the attacked vvudev", bad.cmd.Process.Pid, before[1])
	settles(t, "the driver", self, before[2])
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	if err := neighbour.Halt(); err != nil {
		t.Error(err)
	}
	d.stop()
	good.stop(t)
	bad.stop(t)
}

func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAKTIME")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("SOAKTIME=%s: want a duration such as 10m", text)
	}
	return d
}

// assault plays attacks on a vvudev's front-end socket.
type assault struct {
	*vvudev
	rnd    *rand.Rand
	played map[string]int
}

func (s *assault) total() (n int) {
	for _, k := range s.played {
		n += k
	}
	return n
}

type attack struct {
	name string
	play func() error
}

func (s *assault) attacks() []attack {
	return []attack{
		{"hang-up", func() error { return s.raw(nil) }},
		{"random bytes", s.randomBytes},
		{"random messages", s.randomMessages},
		{"wrong files", s.wrongFiles},
		{"flood", s.flood},
		{"half a message", s.half},
		{"full eventfds", s.fullEventFDs},
		{"leaving early", s.leaveEarly},
		{"corrupt rings", s.corrupt},
		{"kick storm", s.storm},
	}
}

// play plays one attack, all plays each once.
func (s *assault) play(t *testing.T) {
	t.Helper()
	all := s.attacks()
	s.one(t, all[s.rnd.IntN(len(all))])
}

func (s *assault) all(t *testing.T) {
	t.Helper()
	for _, a := range s.attacks() {
		s.one(t, a)
	}
}

func (s *assault) one(t *testing.T, a attack) {
	t.Helper()
	s.played[a.name]++
	if err := a.play(); err != nil {
		t.Fatalf("%s: %v: %s", a.name, err, s.said())
	}
}

// dial joins as a front-end. The device accepts the next one when the last is gone, and not
// sooner than its driver has seen that.
func (s *assault) dial() (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.app, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// raw sends bytes with files, and leaves. That the other side hangs up before is no error; that
// it takes nothing for as long as patience is.
func (s *assault) raw(b []byte, files ...int) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return forgive(send(c, b, files...))
}

func send(c *net.UnixConn, b []byte, files ...int) error {
	if len(b) == 0 {
		return nil
	}
	return peerfd.Send(c, b, files...)
}

func forgive(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

func (s *assault) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rnd.Uint32())
	}
	return b
}

func (s *assault) randomBytes() error { return s.raw(s.bytes(1 + s.rnd.IntN(5000))) }

// message is a message of any kind, whose payload may have any length.
func (s *assault) message() []byte {
	r := vhostuser.Request(s.rnd.IntN(46))
	payload := s.bytes([]int{0, 8, 8, 8, 16, 20, 40, 40, 104, s.rnd.IntN(300)}[s.rnd.IntN(10)])
	if len(payload) >= 4 && s.rnd.IntN(2) == 0 {
		copy(payload, []byte{byte(s.rnd.IntN(4)), 0, 0, 0}) // a ring that there is
	}
	b := vhostuser.NewRequest(r, rawPayload(payload))
	b.Flags |= vhostuser.FlagNeedReply * uint32(s.rnd.IntN(2))
	return encode(b)
}

func (s *assault) randomMessages() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	for range 1 + s.rnd.IntN(20) {
		if err := send(c, s.message()); err != nil {
			return forgive(err)
		}
	}
	return nil
}

// wrongFiles sends files of any kind where memory or an eventfd is wanted.
func (s *assault) wrongFiles() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	directory, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(directory)
	kinds := []int{pipe[0], pipe[1], directory, s.ram.FD}
	var files []int
	for range 1 + s.rnd.IntN(16) {
		files = append(files, kinds[s.rnd.IntN(len(kinds))])
	}
	var payload vhostuser.Payload = vhostuser.VringFD{Index: uint8(s.rnd.IntN(3))}
	r := []vhostuser.Request{vhostuser.SetVringKick, vhostuser.SetVringCall, vhostuser.SetVringErr, vhostuser.SetMemTable, vhostuser.SetBackendReqFD}[s.rnd.IntN(5)]
	if r == vhostuser.SetMemTable {
		payload = vhostuser.MemoryTable{{GPA: s.rnd.Uint64(), Size: s.rnd.Uint64(), UVA: s.rnd.Uint64(), Offset: s.rnd.Uint64()}}
	}
	return s.raw(encode(vhostuser.NewRequest(r, payload)), files...)
}

// flood asks again and again and reads no answer, until the device hangs up or takes nothing
// any more.
func (s *assault) flood() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return err
	}
	b := encode(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	for range 20_000 {
		if err := send(c, b); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return forgive(err)
		}
	}
	return nil
}

// half leaves in the middle of a message.
func (s *assault) half() error {
	b := encode(vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable(make([]vhostuser.MemoryRegion, 3))))
	return s.raw(b[:1+s.rnd.IntN(len(b)-1)], s.ram.FD)
}

// leaveEarly is a good front-end that goes in the middle of its negotiation.
func (s *assault) leaveEarly() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	script := []vhostuser.Message{
		vhostuser.NewRequest(vhostuser.SetOwner, nil), vhostuser.NewRequest(vhostuser.GetFeatures, nil),
		vhostuser.NewRequest(vhostuser.SetFeatures, vhostuser.U64(1<<32|1<<30)), vhostuser.NewRequest(vhostuser.GetProtocolFeatures, nil),
		vhostuser.NewRequest(vhostuser.SetProtocolFeatures, vhostuser.U64(1)), vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Num: 64}),
		vhostuser.NewRequest(vhostuser.SetVringEnable, vhostuser.VringState{Num: 1}), vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{}),
	}
	for _, m := range script[:s.rnd.IntN(len(script)+1)] {
		if err := send(c, encode(m)); err != nil {
			return forgive(err)
		}
	}
	return nil
}

// visit is a front-end whose rings run and that then does something.
func (s *assault) visit(do func(a visitor) error) error {
	app, err := boot(s.vvudev)
	if err != nil {
		return fmt.Errorf("a front-end is not let in: %w", err)
	}
	return errors.Join(do(visitor{app, s.rnd}), app.Halt())
}

func (s *assault) corrupt() error {
	return s.visit(func(a visitor) error {
		a.CorruptAvail(a.rnd.IntN(2))
		return nil
	})
}

func (s *assault) storm() error {
	return s.visit(func(a visitor) error {
		for range 5000 {
			a.Kick(a.rnd.IntN(2))
		}
		return nil
	})
}

// fullEventFDs makes the interrupts' eventfds block, and fills them to the brim just when the
// device has found them writable: whoever signals then waits for ever, unless it knows better.
func (s *assault) fullEventFDs() error {
	return s.visit(func(a visitor) error {
		var fds [2]int
		for ring := range fds {
			var err error
			if fds[ring], err = unix.FcntlInt(uintptr(a.CallFD(ring)), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				return err
			}
			defer unix.Close(fds[ring])
		}
		var end atomic.Bool
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !end.Load() {
				for _, fd := range fds {
					var old [8]byte
					unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK)
					unix.Read(fd, old[:])
					unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
					unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
				}
			}
		}()
		for stop := time.Now().Add(20 * time.Millisecond); time.Now().Before(stop); {
			if err := a.TrySend(0, frame(1)); err != nil {
				return err
			}
			a.Kick(1)
		}
		end.Store(true)
		<-ended
		return nil
	})
}
