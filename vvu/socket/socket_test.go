package socket

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// Where things lie in an app's memory: two rings and a page for each frame.
const (
	appMemory = 1 << 20
	appGPA    = 0x4000_0000
	appUVA    = 0x7f00_0000_0000
	ringSize  = 16
	ringSpace = 16 << 10
	framesAt  = 2 * ringSpace
	frameRoom = 4096
)

// listen makes a socket and an endpoint at it.
func listen(path string, maxPairs int, log *zap.Logger) (*Endpoint, error) {
	l, err := vhostuser.Listen(path)
	if err != nil {
		return nil, err
	}
	return Listen(l, maxPairs, log), nil
}

// app is a front-end with memory and rings, and the guest in it.
type app struct {
	*vhostuser.Frontend
	conn   *vhostuser.Conn
	file   *os.File
	memory []byte
	rings  [2]*vring.Driver // receive, transmit
	kicks  [2]int
	calls  [2]int
}

func newApp(t *testing.T, path string) *app { return newAppLike(t, path, vhostuser.QEMU) }

// newAppLike is newApp with the habits of some front-end.
func newAppLike(t *testing.T, path string, style vhostuser.Style) *app {
	t.Helper()
	a := &app{}
	fd, err := unix.MemfdCreate("app", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	a.file = os.NewFile(uintptr(fd), "app")
	if err := a.file.Truncate(appMemory); err != nil {
		t.Fatal(err)
	}
	if a.memory, err = unix.Mmap(fd, 0, appMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	cfg := vhostuser.FrontendConfig{
		Style: style, Features: virtio.Version1 | virtio.EventIdx | virtio.NetMrgRxbuf,
		Regions: []vhostuser.MemoryRegion{{GPA: appGPA, Size: appMemory, UVA: appUVA}}, Files: []int{fd},
	}
	for i := range a.rings {
		a.kicks[i], a.calls[i] = eventFD(t), eventFD(t)
		a.rings[i] = a.ring(t, i)
		desc, avail, used := a.rings[i].Addresses()
		const toUser = appUVA - appGPA
		cfg.Rings = append(cfg.Rings, vhostuser.FrontendRing{Num: ringSize, Desc: desc + toUser, Avail: avail + toUser, Used: used + toUser, Kick: a.kicks[i], Call: a.calls[i], UsedGPA: used})
	}
	if a.conn, err = vhostuser.Dial(path); err != nil {
		t.Fatal(err)
	}
	a.Frontend = vhostuser.NewFrontend(a.conn, cfg)
	return a
}

func (a *app) ring(t *testing.T, i int) *vring.Driver {
	t.Helper()
	clear(a.memory[i*ringSpace : (i+1)*ringSpace])
	q, err := vring.NewDriver(vring.DriverConfig{Size: ringSize, Memory: a.memory[i*ringSpace : (i+1)*ringSpace], Base: uint64(appGPA + i*ringSpace), EventIdx: true})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// exit ends the front-end as a crash does.
func (a *app) exit() {
	a.conn.Close()
	for i := range a.rings {
		unix.Close(a.kicks[i])
		unix.Close(a.calls[i])
	}
	unix.Munmap(a.memory)
	a.file.Close()
}

func eventFD(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func (a *app) kick(i int) {
	if a.rings[i].Publish() && a.rings[i].NeedKick() {
		unix.Write(a.kicks[i], []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// frame k of the app's memory.
func (a *app) frame(k int) (vring.Part, []byte) {
	off := framesAt + k*frameRoom
	return vring.Part{Addr: uint64(appGPA + off), Len: frameRoom}, a.memory[off : off+frameRoom]
}

// offer posts a receive buffer; send transmits a frame; both kick if asked to.
func (a *app) offer(k int) {
	part, _ := a.frame(k)
	a.rings[0].Add(nil, []vring.Part{part})
	a.rings[0].EnableInterrupts()
	a.kick(0)
}

func (a *app) send(k int, frame []byte) {
	part, b := a.frame(k)
	clear(b[:virtionet.HeaderLen])
	part.Len = uint32(virtionet.HeaderLen + copy(b[virtionet.HeaderLen:], frame))
	a.rings[1].Add([]vring.Part{part}, nil)
	a.kick(1)
}

// receive waits for the guest's interrupt and returns the frame in buffer k.
func (a *app) receive(t *testing.T, k int) []byte {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(a.calls[0]), Events: unix.POLLIN}}
	deadline := time.Now().Add(10 * time.Second)
	for a.rings[0].Completed() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no frame arrived")
		}
		if n, _ := unix.Poll(fds, 2000); n == 0 {
			t.Fatal("no interrupt came")
		}
		var buf [8]byte
		unix.Read(a.calls[0], buf[:])
	}
	var u vring.Used
	a.rings[0].Take(&u)
	_, b := a.frame(k)
	return bytes.Clone(b[virtionet.HeaderLen:u.Len])
}

// rig is two endpoints, joined by a loop.
type rig struct {
	paths [2]string
	logs  *observer.ObservedLogs
}

func newRig(t *testing.T) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	r := &rig{logs: logs}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var ends [2]*Endpoint
	for i, name := range []string{"a.sock", "b.sock"} {
		r.paths[i] = filepath.Join(dir, name)
		e, err := listen(r.paths[i], session.MaxPairs, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = e
	}
	_, stopLoop := netfwdtest.Join(t, netfwd.Config{
		CPU: -1, IdleAfter: time.Millisecond,
		OnFault: func(_ []netfwd.Port, err error) { zap.New(core).Error("fault", zap.Error(err)) },
	}, ends[0].Ports()[0], ends[1].Ports()[0])
	done := make(chan error, 3)
	for _, e := range ends {
		for _, p := range e.Ports()[1:] {
			p.Leave() // no one forwards for those
		}
		go func() { done <- e.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range ends {
			if err := <-done; err != nil {
				t.Errorf("endpoint: %v", err)
			}
		}
		stopLoop()
		for _, e := range ends {
			e.Close()
		}
	})
	return r
}

// logged waits for a log line that contains text in its message or error.
func (r *rig) logged(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, e := range r.logs.All() {
			line := e.Message
			for _, f := range e.Context {
				if err, ok := f.Interface.(error); ok {
					line += " " + err.Error()
				}
			}
			if strings.Contains(line, text) {
				return
			}
		}
	}
	t.Errorf("%q was not logged; what was: %v", text, r.logs.All())
}

func startApp(t *testing.T, path string) *app {
	t.Helper()
	a := newApp(t, path)
	if err := a.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return a
}

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + seed)
	}
	return b
}

// exchange sends a frame each way and compares it.
func exchange(t *testing.T, a, b *app, seed int) {
	t.Helper()
	for _, way := range [][2]*app{{a, b}, {b, a}} {
		want := pattern(1000, seed)
		way[1].offer(0)
		way[0].send(1, want)
		if got := way[1].receive(t, 0); !bytes.Equal(got, want) {
			t.Fatalf("frame differs (%d bytes)", len(got))
		}
		for deadline := time.Now().Add(5 * time.Second); way[0].rings[1].Completed() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the transmit buffer did not come back")
			}
		}
		var u vring.Used
		way[0].rings[1].Take(&u)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// noMoreFDs waits until no more descriptors are open than before: sessions that have ended close
// theirs soon, which no one is told of.
func noMoreFDs(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(vvutest.Patience); openFDs(t) > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d open descriptors, %d before", openFDs(t), before)
		}
	}
}

// Front-ends come and go at either end; frames pass whenever both are there, and
// nothing is left behind.
func TestFrontendsComeAndGo(t *testing.T) {
	r := newRig(t)
	b := startApp(t, r.paths[1])
	defer b.exit()
	before := 0
	for i := range 30 {
		a := startApp(t, r.paths[0])
		for k := range 5 {
			exchange(t, a, b, i+k)
		}
		if i%2 == 0 { // an orderly end every other time
			if _, err := a.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		a.exit()
		if i == 4 {
			time.Sleep(50 * time.Millisecond)
			before = openFDs(t)
		}
	}
	noMoreFDs(t, before)
}

// A restart of the guest goes on at index 0, with everything else kept.
func TestGuestRestarts(t *testing.T) {
	r := newRig(t)
	a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
	defer a.exit()
	defer b.exit()
	for i := range 5 {
		exchange(t, a, b, i)
		at, err := a.Stop()
		if err != nil {
			t.Fatal(err)
		}
		if at[0] != 1 || at[1] != 1 {
			t.Errorf("rings stood at %v, want 1 and 1", at)
		}
		for k := range a.rings {
			a.rings[k] = a.ring(t, k)
		}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// A front-end whose back-end died does not know where the rings stood. DPDK says
// that they stand at 0.
func TestFrontendReconnectsWithItsRingsInUse(t *testing.T) {
	r := newRig(t)
	a, b := newAppLike(t, r.paths[0], vhostuser.VirtioUser), startApp(t, r.paths[1])
	defer a.exit()
	defer b.exit()
	if err := a.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * ringSize {
		exchange(t, a, b, i)
	}
	a.offer(0) // waits in the ring while the connection changes
	a.conn.Close()
	conn, err := vhostuser.Dial(r.paths[0])
	if err != nil {
		t.Fatal(err)
	}
	a.conn = conn
	if err := a.Reconnect(conn); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil { // with base 0
		t.Fatal(err)
	}
	want := pattern(500, 7)
	b.send(1, want)
	if got := a.receive(t, 0); !bytes.Equal(got, want) {
		t.Errorf("frame differs (%d bytes)", len(got))
	}
	if n := r.logs.FilterMessageSnippet("is not at the index").Len(); n != 2 {
		t.Errorf("%d rings are said to stand elsewhere, want 2", n)
	}
}

func TestMemoryThatIsNotThere(t *testing.T) {
	r := newRig(t)
	a := newApp(t, r.paths[0])
	defer a.exit()
	if err := a.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := a.file.Truncate(appMemory / 2); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err == nil {
		t.Error("a memory table larger than its file was accepted")
	}
	r.logged(t, "ends before the region does")
}

// The app VM's monitor cuts its RAM file while rings run: its own session ends
// up with dead rings, the process and the other end go on.
func TestMemoryVanishesUnderLoad(t *testing.T) {
	r := newRig(t)
	a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
	defer b.exit()
	exchange(t, a, b, 1)
	if err := a.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	unix.Write(a.kicks[1], []byte{1, 0, 0, 0, 0, 0, 0, 0}) // make the loop look
	r.logged(t, "fault")
	a.exit()
	a = startApp(t, r.paths[0])
	defer a.exit()
	// The fault took the pair's rings down, b's too: its guest restarts them.
	if _, err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	for k := range b.rings {
		b.rings[k] = b.ring(t, k)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b, 2)
}

func TestHostileDescriptors(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	for name, tc := range map[string]struct {
		message vhostuser.Message
		want    string
	}{
		"kick through a pipe": {vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 0}, pipe[0]), "not an eventfd"},
		"call through a pipe": {vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: 1}, pipe[1]), "not an eventfd"},
		"surplus descriptors": {vhostuser.NewRequest(vhostuser.GetFeatures, nil, pipe[0], pipe[1]), "file descriptors, want none"},
		"table without files": {vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{GPA: 0, Size: 4096, UVA: 4096}}), "SET_MEM_TABLE"},
		"unknown request":     {vhostuser.Message{Request: 999, Flags: vhostuser.Version}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			before := openFDs(t)
			conn, err := vhostuser.Dial(r.paths[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.WriteMessage(tc.message); err != nil {
				t.Fatal(err)
			}
			r.logged(t, tc.want)
			conn.Close()
			good := startApp(t, r.paths[0]) // the next front-end is served
			good.exit()
			noMoreFDs(t, before)
		})
	}
}

func TestClientReconnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front.sock")
	core, logs := observer.New(zapcore.InfoLevel)
	e := Connect(path, session.MaxPairs, zap.New(core))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for _, p := range e.Ports() {
		p.Leave() // no one forwards: sessions must not wait
	}
	for range 2 {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		sock, err := listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		l := vhostuser.NewConn(sock)
		if err := l.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
			t.Fatal(err)
		}
		reply, err := l.ReadMessage()
		if err != nil || reply.Request != vhostuser.GetFeatures || reply.Flags != vhostuser.ReplyFlags {
			t.Fatalf("reply %v, %v", reply, err)
		}
		l.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := logs.FilterMessage("front-end connected").Len(); n != 2 {
		t.Errorf("connected %d times, want 2", n)
	}
}

// A front-end that comes while another is connected is told so before long, or served when that leaves in time.
func TestAnotherFrontend(t *testing.T) {
	r := newRig(t)
	a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
	defer b.exit()
	refused, err := vhostuser.Dial(r.paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	r.logged(t, "another front-end is waiting")
	if m, err := refused.ReadMessage(); err == nil {
		t.Fatal("one that was not asked got", m)
	}
	r.logged(t, "refused a front-end, because another one is connected")
	exchange(t, a, b, 1)
	waits, err := vhostuser.Dial(r.paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	for deadline := time.Now().Add(5 * time.Second); r.logs.FilterMessageSnippet("another front-end is waiting").Len() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no one is said to wait again")
		}
	}
	a.exit()
	if err := waits.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
		t.Fatal(err)
	}
	if reply, err := waits.ReadMessage(); err != nil || reply.Request != vhostuser.GetFeatures {
		t.Errorf("one that waited in time got %v, %v", reply, err)
	}
}

// Without a free file descriptor no front-end can be accepted. That passes, and ends
// nothing.
func TestAcceptSurvivesWantOfDescriptors(t *testing.T) {
	r := newRig(t)
	r.logged(t, "waiting for a front-end")
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sock)
	lowest, err := unix.Dup(sock)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(lowest)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: uint64(lowest), Max: limit.Max} // new descriptors are the lowest that are free
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	err = unix.Connect(sock, &unix.SockaddrUnix{Name: r.paths[0]})
	r.logged(t, "too many open files")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.logged(t, "front-end connected")
}
