package hostile

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestEventFDs: the front-end of a running device sabotages every eventfd it has given.
func TestEventFDs(t *testing.T) {
	d := startDevice(t)
	s := d.drive()
	for range 2 {
		app, err := vvutest.Boot(d.ram, d.app, vvutest.AppConfig{Style: vhostuser.QEMU})
		must(t, err)
		must(t, app.Connect())
		must(t, app.Start())
		var fds []int
		for ring := range 2 {
			fds = append(fds, app.CallFD(ring))
			for _, r := range []vhostuser.Request{vhostuser.SetVringErr, vhostuser.SetVringKick} {
				fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
				must(t, err)
				fds = append(fds, fd)
				must(t, app.Conn.WriteMessage(vhostuser.NewRequest(r, vhostuser.VringFD{Index: uint8(ring)}, fd)))
				defer unix.Close(fd)
			}
		}
		for _, fd := range fds { // one after the other: more would leave vvudev no CPU
			stop := goRun(func(ctx context.Context) { sabotage(ctx, fd, s.answers.Load) })
			time.Sleep(300 * time.Millisecond) // of accesses that have to be answered
			before := s.answers.Load()
			d.eventually("register accesses are answered under attack", func() bool { return s.answers.Load() > before+1 })
			stop()
		}
		for _, fd := range fds { // and it is left full and blocking
			unix.SetNonblock(fd, true)
			unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			unix.SetNonblock(fd, false)
		}
		app.Conn.Close()
		app.Halt()
	}
	s.exchange()
}

// TestDescriptors sends descriptors of all kinds where they belong and where they do not,
// and too many.
func TestDescriptors(t *testing.T) {
	d := startDevice(t)
	s := d.drive()
	regions := vhostuser.MemoryTable(vvutest.Regions())
	for name, fd := range all(t) {
		for _, m := range []struct {
			request vhostuser.Request
			payload vhostuser.Payload
		}{
			{vhostuser.SetVringKick, vhostuser.VringFD{Index: 1}}, {vhostuser.SetVringCall, vhostuser.VringFD{Index: 1}},
			{vhostuser.SetVringErr, vhostuser.VringFD{Index: 1}}, {vhostuser.SetVringCall, vhostuser.VringFD{Index: 255}},
			{vhostuser.SetMemTable, regions}, {vhostuser.SetLogFD, nil}, {vhostuser.GetFeatures, nil},
		} {
			for _, n := range []int{1, len(regions), vhostuser.MaxFDs} {
				c, err := vhostuser.Dial(d.app)
				must(t, err)
				fds := make([]int, n)
				for i := range fds {
					fds[i] = fd
				}
				if err := c.WriteMessage(vhostuser.NewRequest(m.request, m.payload, fds...)); err != nil && !gone(err) {
					t.Fatalf("%v with %d of %s: %v", m.request, n, name, err)
				}
				c.Close()
			}
		}
	}
	s.exchange()
}

// TestGarbage sends what is no message, or half of one, or far too many, and reads no
// reply.
func TestGarbage(t *testing.T) {
	d := startDevice(t)
	s := d.drive()
	random := rand.New(rand.NewPCG(1, 2))
	dial := func() *net.UnixConn {
		t.Helper()
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.app, Net: "unix"})
		must(t, err)
		c.SetDeadline(time.Now().Add(2 * time.Second))
		return c
	}
	for range 200 {
		b := make([]byte, 1+random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if random.IntN(2) == 0 && len(b) >= 12 { // a header that is right
			copy(b, []byte{byte(random.IntN(45)), 0, 0, 0, 1, 0, 0, 0, byte(len(b) - 12), 0, 0, 0})
		}
		c := dial()
		c.Write(b)
		c.Close()
	}
	flood := dial()
	message := vhostuser.NewRequest(vhostuser.GetFeatures, nil).Append(nil)
	for range 20_000 {
		if _, err := flood.Write(message); err != nil {
			break // vvudev has enough, or waits for us to read
		}
	}
	flood.Close()
	half := dial()
	half.Write(message[:7])
	time.Sleep(100 * time.Millisecond)
	half.Close()
	s.exchange()
}

// TestBusy: a front-end that comes while another is connected is told, by the end of its
// connection, and the log says why.
func TestBusy(t *testing.T) {
	t.Parallel() // it only waits
	d := startDevice(t)
	s := d.drive()
	app, err := vvutest.Boot(d.ram, d.app, vvutest.AppConfig{Style: vhostuser.QEMU})
	must(t, err)
	must(t, app.Connect())
	var others sync.WaitGroup
	for i := range 3 { // all have to wait for as long as vvudev lets them
		c, err := vhostuser.Dial(d.app)
		must(t, err)
		defer c.Close()
		must(t, c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
		others.Go(func() {
			c.SetReadDeadline(time.Now().Add(patience))
			if m, err := c.ReadMessage(); err == nil || !vhostuser.PeerClosed(err) {
				t.Errorf("front-end %d gets %v, %v", i, m, err)
			}
		})
	}
	others.Wait()
	must(t, app.Start())
	app.Halt()
	s.exchange()
	d.logs("another front-end is waiting", "refused a front-end")
}
