package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/statictest"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// patience is how long anything may take that should take milliseconds: other tests may
// be busy on the same few CPUs.
const patience = 20 * time.Second

var vvudev string // the binary

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vvudev")
	if err == nil {
		defer os.RemoveAll(dir)
		err = statictest.Build(dir, "vvudev")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	vvudev = filepath.Join(dir, "vvudev")
	return m.Run()
}

// device is a vvudev that runs.
type device struct {
	t            *testing.T
	sessions     func() int // with a shadow: how many sessions with the driver VM have begun; else nil
	ram          *vvutest.RAM
	monitor, app string // sockets
	process      *os.Process
	log          journal
	files        int // that it has without peers
	threads      int
}

// journal is a log that grows.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// logs waits for words in the log.
func (d *device) logs(words ...string) {
	d.t.Helper()
	for _, w := range words {
		d.eventually("the log says: "+w, func() bool { return strings.Contains(d.log.String(), w) })
	}
}

// startVvudev starts it with sockets in dir, which goes with it when the test ends.
func startVvudev(t *testing.T, dir string, log *journal, args ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(vvudev, args...)
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		late := time.AfterFunc(patience, func() { cmd.Process.Signal(unix.SIGABRT) }) // shows where
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("vvudev ended with %v", err)
		}
		if t.Failed() {
			t.Logf("vvudev said:\n%s", log.String())
		}
		os.RemoveAll(dir)
	})
	return cmd.Process
}

func startDevice(t *testing.T) *device {
	t.Helper()
	dir, err := os.MkdirTemp("", "v") // paths of sockets must be short
	must(t, err)
	d := &device{t: t, ram: vvutest.NewRAM(t), monitor: filepath.Join(dir, "m"), app: filepath.Join(dir, "a")}
	d.process = startVvudev(t, dir, &d.log, "--vfio-user", d.monitor, "--vhost-user", d.app, "--ram", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), d.ram.FD))
	t.Cleanup(d.settle)
	d.eventually("vvudev is there", func() bool {
		c, err := vhostuser.Dial(d.app)
		if err == nil {
			c.Close()
		}
		return err == nil && d.status("Seccomp") == "2"
	})
	d.eventually("vvudev knows that no one is there", func() bool {
		d.files = d.count("fd")
		time.Sleep(10 * time.Millisecond)
		return d.files == d.count("fd")
	})
	d.threads = d.count("task")
	return d
}

func (d *device) status(field string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.Pid))
	for line := range bytes.Lines(text) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(name) == field {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

func (d *device) count(what string) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/%s", d.process.Pid, what))
	return len(list)
}

// settle waits until peers have left nothing behind. The run-time keeps threads, but not
// one for each attack.
func (d *device) settle() {
	d.t.Helper()
	d.eventually("descriptors of peers are closed", func() bool { return d.count("fd") <= d.files+2 })
	if n := d.count("task"); n > d.threads+24 {
		d.t.Errorf("%d threads, %d in the beginning", n, d.threads)
	}
}

// standIn is a driver VM: a monitor, and the driver with a wire.
type standIn struct {
	d       *device
	monitor *vvutest.Monitor
	wire    *vvutest.Wire
	stop    func()
	answers atomic.Int64 // to register accesses
}

// drive starts a driver VM, and accesses to its device's registers that go on until the
// test ends or leave: each has to be answered promptly.
func (d *device) drive() *standIn {
	d.t.Helper()
	s := &standIn{d: d, monitor: vvutest.Plug(d.t, d.monitor), wire: vvutest.NewWire(d.t)}
	dev, err := vvu.Open("0000:00:05.0", s.monitor, s.monitor, 1)
	must(d.t, err)
	endpoint, err := vvu.NewEndpoint(dev, zap.NewNop())
	must(d.t, err)
	_, stopLoop := netfwdtest.Join(d.t, netfwd.Config{
		CPU: -1, IdleAfter: time.Millisecond, OnFault: func(_ []netfwd.Port, err error) { d.t.Errorf("the driver VM's loop: %v", err) },
	}, endpoint.Ports()[0], s.wire)
	stopEndpoint := goRun(func(ctx context.Context) { endpoint.Run(ctx) })
	stopRegisters := goRun(s.useRegisters)
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			stopRegisters()
			stopEndpoint()
			stopLoop()
			endpoint.Close()
		})
	}
	d.t.Cleanup(s.stop)
	return s
}

// useRegisters reads the device's configuration and rings all of its doorbells.
func (s *standIn) useRegisters(ctx context.Context) {
	config, err := s.monitor.BAR(0)
	if err != nil {
		s.d.t.Error(err)
		return
	}
	resources, err := s.monitor.BAR(2)
	if err != nil {
		s.d.t.Error(err)
		return
	}
	for ctx.Err() == nil {
		late := time.AfterFunc(patience, func() {
			s.d.t.Errorf("no answer to a register access for %v", patience)
			s.d.process.Signal(unix.SIGABRT) // shows where, and frees us
		})
		config.Load32(0x2000)
		for ring := range uint64(2) {
			resources.Store16(4*ring, uint16(ring))
			resources.Store16(4*(256+ring), 0) // error notifiers
		}
		late.Stop()
		s.answers.Add(1)
	}
}

// exchange has an app VM come, exchange frames, and go. Front-ends of an attack may be
// on their way out still.
func (s *standIn) exchange() {
	t := s.d.t
	t.Helper()
	sessions := 0
	if s.d.sessions != nil {
		sessions = s.d.sessions()
	}
	var app *vvutest.App
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if app, err = vvutest.Boot(s.d.ram, s.d.app, vvutest.AppConfig{Style: vhostuser.QEMU}); err == nil {
			if err = app.Connect(); err == nil {
				break
			}
			app.Halt()
		}
		if time.Now().After(deadline) {
			t.Fatalf("an app VM is not served after the attack: %v", err)
		}
	}
	must(t, app.Start())
	defer app.Halt()
	if s.d.sessions != nil { // frames are not waited for without end
		s.d.eventually("a session with the driver VM", func() bool { return s.d.sessions() > sessions })
	}
	for i := range 20 {
		frame := bytes.Repeat([]byte{byte(i)}, 100)
		must(t, app.Send(frame))
		got, err := s.wire.Pop()
		must(t, err)
		s.wire.Push(frame)
		back, err := app.Receive()
		must(t, err)
		if !bytes.Equal(got, frame) || !bytes.Equal(back, frame) {
			t.Fatalf("frame %d arrives as %x and %x", i, got, back)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *device) eventually(what string, cond func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

// goRun runs f until the returned function is called, which waits for it to end.
func goRun(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

// sabotage empties and fills an eventfd that is blocking as fast as it can, until ctx ends:
// what can be written to in one moment cannot in the next. From time to time it stops when
// it is full, until vvudev has made progress: should that wait for room by then, no one
// else makes any.
func sabotage(ctx context.Context, fd int, progress func() int64) {
	unix.SetNonblock(fd, false)
	empty := func() {
		var b [8]byte
		unix.Preadv2(fd, [][]byte{b[:]}, -1, unix.RWF_NOWAIT)
	}
	var cycles atomic.Int64
	var filling atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for range 50 {
				empty()
				cycles.Add(1)
				filling.Store(true)
				unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) // waits, if vvudev was faster
				filling.Store(false)
			}
			for before := progress(); ctx.Err() == nil && progress() == before; {
				runtime.Gosched()
			}
		}
	}()
	for before := int64(-1); ; before = cycles.Load() {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
		if filling.Load() && cycles.Load() == before {
			empty() // it is our own write that waits
		}
	}
}

// all are descriptors of all kinds.
func all(t *testing.T) map[string]int {
	t.Helper()
	list := map[string]int{}
	add := func(name string, fd int, err error) {
		must(t, err)
		list[name] = fd
		t.Cleanup(func() { unix.Close(fd) })
	}
	var pipe [2]int
	must(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	add("pipe to read", pipe[0], nil)
	add("pipe to write", pipe[1], nil)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	add("socket", fd, err)
	fd, err = unix.Eventfd(5, unix.EFD_CLOEXEC|unix.EFD_SEMAPHORE)
	add("semaphore", fd, err)
	fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	add("epoll", fd, err)
	fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	add("timer", fd, err)
	fd, err = unix.MemfdCreate("empty", unix.MFD_CLOEXEC)
	add("empty memfd", fd, err)
	for _, path := range []string{os.DevNull, "/dev/zero", "/proc/self/mem", "/proc/self/exe", t.TempDir()} {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		add(path, fd, err)
	}
	return list
}

// gone reports whether an error says that the other side has closed the connection.
func gone(err error) bool {
	return vhostuser.PeerClosed(err) || errors.Is(err, os.ErrDeadlineExceeded)
}
