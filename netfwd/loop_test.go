package netfwd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// vm is a guest with a virtio-net driver that the test plays, and the port that
// serves it.
type vm struct {
	*guest.Port
	kick   int           // eventfd of both rings, at first
	kickBy *atomic.Int32 // the one that the driver uses by now
	rx, tx *vringtest.Pair
	irq    irq
	failed chan error
}

// irq is the guest's interrupt.
type irq struct{ c chan struct{} }

func (i irq) Ring() {
	select {
	case i.c <- struct{}{}:
	default:
	}
}

func (v *vm) WakeFDs() []int {
	if fds := v.Port.WakeFDs(); fds != nil {
		return fds
	}
	return []int{v.kick}
}

func newVM(t *testing.T, name string) *vm {
	t.Helper()
	return newVMWith(t, name, vringtest.Config{Size: 16, EventIdx: true})
}

func newVMWith(t *testing.T, name string, cfg vringtest.Config) *vm {
	t.Helper()
	v := &vm{kick: eventFD(t), kickBy: &atomic.Int32{}, rx: vringtest.NewPair(t, cfg), tx: vringtest.NewPair(t, cfg), irq: irq{make(chan struct{}, 1)}, failed: make(chan error, 8)}
	v.Port = guest.New(name, func(_ string, err error) { v.failed <- err })
	v.kickBy.Store(int32(v.kick))
	use(t, v.rx)
	return v
}

func eventFD(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// use makes a receive ring one that had a buffer, which came back empty: who has frames
// for it waits for more.
func use(t *testing.T, rx *vringtest.Pair) {
	t.Helper()
	addr, _ := rx.Alloc(64)
	if _, err := rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 64)}); err != nil {
		t.Fatal(err)
	}
	rx.Driver.Publish()
	var c vring.Chain
	if !rx.Device.Offered() || !rx.Device.Pop(&c) {
		t.Fatal("the device does not see the buffer")
	}
	rx.Device.Push(c.Head, 0)
	rx.Device.Publish()
	rx.Driver.Completed()
	var u vring.Used
	rx.Driver.Take(&u)
}

func (v *vm) queues() *guest.Queues {
	return &guest.Queues{
		ToGuest: v.rx.Device, FromGuest: v.tx.Device, ToGuestCall: v.irq, FromGuestCall: v.irq,
		ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen, Mergeable: true,
	}
}

// kickIf notifies the forwarder like a driver: only if the ring asks for it.
func (v *vm) kickIf(d *vring.Driver) {
	if d.Publish() && d.NeedKick() {
		one := [8]byte{1}
		unix.Write(int(v.kickBy.Load()), one[:])
	}
}

// startLoop joins two ports and runs the loop until the test ends.
func startLoop(t *testing.T, a, b Port, cfg Config, onFault func(error)) *Loop {
	t.Helper()
	cfg.OnFault = func(_ []Port, err error) { onFault(err) }
	l, err := joinLoop([]Port{a, b}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	runLoop(t, l)
	return l
}

// runLoop runs a loop until the test ends.
func runLoop(t *testing.T, l *Loop) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("loop: %v", err)
		}
		l.Close()
	})
}

const frameLen = 200

// sender puts count numbered frames into v's transmit ring, some with pauses long
// enough for the loop to fall asleep.
func (v *vm) sender(t *testing.T, count int, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	addr, mem := v.tx.Alloc(16 * 512)
	buffers := make(chan int, 16)
	of := map[uint16]int{}
	for i := range 16 {
		buffers <- i
	}
	for seq := 0; seq < count; {
		var u vring.Used
		v.tx.Driver.Completed()
		for v.tx.Driver.Take(&u) {
			buffers <- of[u.Head]
		}
		select {
		case i := <-buffers:
			b := mem[i*512:]
			clear(b[:virtionet.HeaderLen+frameLen])
			binary.LittleEndian.PutUint32(b[virtionet.HeaderLen+14:], uint32(seq))
			head, err := v.tx.Driver.Add([]vring.Part{{Addr: uint64(addr) + uint64(i*512), Len: virtionet.HeaderLen + frameLen}}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			of[head] = i
			v.kickIf(v.tx.Driver)
			seq++
		default:
			if !v.tx.Driver.EnableInterrupts() {
				select {
				case <-v.irq.c:
				case <-time.After(5 * time.Second):
					t.Errorf("%s: transmit ring is full after %d frames and no interrupt comes: %v", v.Name(), seq, v.tx.Device.Err())
					return
				}
			}
		}
		if rng.Intn(50) == 0 {
			time.Sleep(time.Duration(rng.Intn(3)) * time.Millisecond)
		}
	}
}

// receiver takes count frames from v's receive ring, checks their order and
// offers buffers slowly, so that the forwarder also waits for room.
func (v *vm) receiver(t *testing.T, count int, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	addr, mem := v.rx.Alloc(16 * 512)
	of := map[uint16]int{}
	offer := func(i int) {
		head, err := v.rx.Driver.Add(nil, []vring.Part{{Addr: uint64(addr) + uint64(i*512), Len: 512}})
		if err != nil {
			t.Error(err)
		}
		of[head] = i
	}
	for i := range 16 {
		offer(i)
	}
	v.kickIf(v.rx.Driver)
	for seq := 0; seq < count; {
		if v.rx.Driver.Completed() == 0 {
			if !v.rx.Driver.EnableInterrupts() {
				select {
				case <-v.irq.c:
				case <-time.After(5 * time.Second):
					t.Errorf("%s: no interrupt after %d frames: %v", v.Name(), seq, v.rx.Device.Err())
					return
				}
			}
			continue
		}
		var u vring.Used
		for v.rx.Driver.Take(&u) {
			i := of[u.Head]
			b := mem[i*512:]
			if got := binary.LittleEndian.Uint32(b[virtionet.HeaderLen+14:]); got != uint32(seq) || u.Len != virtionet.HeaderLen+frameLen {
				t.Errorf("%s: frame %d (%d bytes) where %d is due", v.Name(), got, u.Len, seq)
				return
			}
			seq++
			offer(i)
		}
		if rng.Intn(20) == 0 {
			time.Sleep(time.Duration(rng.Intn(3)) * time.Millisecond)
		}
		v.kickIf(v.rx.Driver)
	}
}

// Frames go both ways in order and none is lost, whether the loop polls all the
// time or sleeps at every chance; with sleep, each lost kick would cost a
// wait that the test counts.
func TestLoopForwardsBothWays(t *testing.T) {
	for name, idle := range map[string]time.Duration{"polling": -1, "sleeping": 0, "adaptive": 500 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			a, b := newVM(t, "a"), newVM(t, "b")
			l := startLoop(t, a, b, Config{CPU: -1, IdleAfter: idle}, func(err error) { t.Error(err) })
			a.OnChange(l.Wake)
			b.OnChange(l.Wake)
			// A goroutine drives each ring, so each ring has an interrupt of its own.
			rxIRQ := map[*vm]irq{a: {make(chan struct{}, 1)}, b: {make(chan struct{}, 1)}}
			for _, v := range []*vm{a, b} {
				q := v.queues()
				q.ToGuestCall = rxIRQ[v]
				v.Install(q)
			}
			var wg sync.WaitGroup
			const n = 5000
			for i, pair := range [][2]*vm{{a, b}, {b, a}} {
				src, dst := pair[0], *pair[1]
				dst.irq = rxIRQ[pair[1]]
				wg.Go(func() { src.sender(t, n, int64(i)) })
				wg.Go(func() { dst.receiver(t, n, int64(i+10)) })
			}
			wg.Wait()
			var ports []PortStats
			all := func() bool {
				ports = Collect([]*Loop{l}).Ports // may be old if the machine is busy
				return !slices.ContainsFunc(ports, func(p PortStats) bool { return p.RxPackets != n || p.TxPackets != n })
			}
			for deadline := time.Now().Add(10 * time.Second); !all(); {
				if time.Now().After(deadline) {
					t.Fatalf("want %d frames in and out of each port: %+v", n, ports)
				}
			}
			for _, p := range ports {
				if len(p.Drops) != 0 {
					t.Errorf("%s: dropped %v", p.Name, p.Drops)
				}
			}
		})
	}
}

// A sleeping loop is woken by a kick, not by its backstop timeout.
func TestSleepingLoopWakesAtOnce(t *testing.T) {
	for name, join := range map[string]func(cfg Config, ports ...Port) (*Loop, error){
		"pair": func(cfg Config, ports ...Port) (*Loop, error) { return joinLoop(ports, cfg) },
		"switch": func(cfg Config, ports ...Port) (*Loop, error) {
			sw := SwitchConfig{MACAge: time.Minute, MACLimit: 8}
			for _, p := range append(ports, newVM(t, "c")) { // which is never used
				sw.Ports = append(sw.Ports, SwitchPort{End: End{Queues: []Port{p}}})
			}
			s, err := NewSwitch(sw, cfg, func(err error) { t.Error(err) })
			if err != nil {
				return nil, err
			}
			return s.Loops()[0], nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newVM(t, "a"), newVM(t, "b")
			l, err := join(Config{CPU: -1, IdleAfter: 0, OnFault: func(_ []Port, err error) { t.Error(err) }}, a, b)
			if err != nil {
				t.Fatal(err)
			}
			runLoop(t, l)
			wakesAtOnce(t, l, a, b)
		})
	}
}

func wakesAtOnce(t *testing.T, l *Loop, a, b *vm) {
	a.OnChange(l.Wake)
	b.OnChange(l.Wake)
	a.Install(a.queues())
	b.Install(b.queues())
	addr, mem := a.tx.Alloc(virtionet.HeaderLen + frameLen)
	copy(mem[virtionet.HeaderLen:], frame(station(1), station(0), 0))
	rxAddr, _ := b.rx.Alloc(512)
	for i := range 50 {
		b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(rxAddr, 512)})
		b.kickIf(b.rx.Driver)
		if i%5 < 4 { // asleep by now, for as short a time as it holds on to its P, or longer
			time.Sleep([...]time.Duration{time.Millisecond, 2 * time.Millisecond, longestBrief - time.Millisecond, longestBrief + 3*time.Millisecond}[i%5])
		}
		b.rx.Driver.EnableInterrupts()
		a.tx.Driver.Add([]vring.Part{vringtest.Part(addr, virtionet.HeaderLen+frameLen)}, nil)
		a.kickIf(a.tx.Driver)
		select {
		case <-b.irq.c:
		case <-time.After(20 * time.Second): // a loop that missed a kick sleeps for ever
			t.Fatalf("frame %d never arrived", i)
		}
		var u vring.Used
		b.rx.Driver.Completed()
		b.rx.Driver.Take(&u)
		a.tx.Driver.Completed()
		for a.tx.Driver.Take(&u) {
		}
		select {
		case <-a.irq.c:
		default:
		}
	}
}

// A frame that waits for room arrives although its guest offers a buffer and does not tell: U-Boot's driver is like
// that. It sends nothing either, so that nothing else wakes the loop.
func TestRoomThatNoOneTellsOf(t *testing.T) {
	a, b := newVM(t, "a"), newVM(t, "b")
	l := startLoop(t, a, b, Config{CPU: -1}, func(err error) { t.Error(err) })
	for _, v := range []*vm{a, b} {
		v.OnChange(l.Wake)
		v.Install(v.queues())
	}
	addr, mem := a.tx.Alloc(virtionet.HeaderLen + frameLen)
	copy(mem[virtionet.HeaderLen:], frame(station(1), station(0), 0))
	rxAddr, _ := b.rx.Alloc(512)
	b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(rxAddr, 512)})
	b.kickIf(b.rx.Driver)
	for range 2 { // of which the second finds no room
		a.tx.Driver.Add([]vring.Part{vringtest.Part(addr, virtionet.HeaderLen+frameLen)}, nil)
	}
	a.kickIf(a.tx.Driver)
	var u vring.Used
	for i := range 2 {
		for deadline := time.Now().Add(10 * time.Second); b.rx.Driver.Completed() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("frame %d does not arrive", i)
			}
		}
		b.rx.Driver.Take(&u)
		time.Sleep(50 * time.Millisecond) // the loop sleeps by now
		b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(rxAddr, 512)})
		b.rx.Driver.Publish()
	}
}

// faulty is a port that hands out whatever memory it is sent, once.
type faulty struct {
	*vm
	mem chan []byte
}

func (f *faulty) Receive(b *virtionet.Burst) (worked bool) {
	select {
	case mem := <-f.mem:
		b.General()[0] = virtionet.Frame{Data: [][]byte{mem}, Len: len(mem)}
		b.Truncate(1)
		return true
	default:
		return false
	}
}

func (f *faulty) Release(*virtionet.Burst, int, int) {}

// A file that its owner truncates raises SIGBUS in whoever maps it: the loop
// must report that and go on.
func TestLoopSurvivesVanishedMemory(t *testing.T) {
	mem := mapped(t, 8192)
	a, b := &faulty{vm: newVM(t, "a"), mem: make(chan []byte, 1)}, newVM(t, "b")
	a.mem <- mem[:1000]
	faults := make(chan error, 8)
	rxAddr, _ := b.rx.Alloc(2048)
	b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(rxAddr, 2048)})
	b.rx.Driver.Publish()

	l, err := joinLoop([]Port{a, b}, Config{CPU: -1, IdleAfter: -1, OnFault: func(_ []Port, err error) { faults <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	installed := make(chan struct{})
	go func() { b.Install(b.queues()); close(installed) }()
	for !b.Changed() {
		time.Sleep(time.Millisecond)
	}
	go func() { done <- l.Run(ctx) }()
	<-installed
	select {
	case err := <-faults:
		var fault interface{ Addr() uintptr }
		if !errors.As(err, &fault) {
			t.Errorf("not reported as a memory fault: %v", err)
		}
		if strings.Contains(err.Error(), "goroutine") {
			t.Errorf("a stack trace for a memory fault: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no fault was reported")
	}
	// The guest's rings have failed until it starts them anew, with which
	// everything works again.
	if err := <-b.failed; err == nil {
		t.Error("the guest's ring has not failed")
	}
	fresh := newVM(t, "b")
	b.rx, b.tx = fresh.rx, fresh.tx
	b.Install(b.queues())
	b.rx.Driver.Add(nil, []vring.Part{vringtest.Part(rxAddr, 2048)})
	b.rx.Driver.Publish()
	a.mem <- make([]byte, 1000)
	select {
	case <-b.irq.c:
	case <-time.After(5 * time.Second):
		t.Error("nothing is forwarded after the fault")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// guilty is a faulty port that says the memory is its own.
type guilty struct{ *faulty }

func (g guilty) Owns(uintptr) bool { return true }

// If it is known whose memory vanished, the other port of the pair, and the other
// pairs of the loop, go on as if nothing had happened.
func TestFaultHitsOnlyItsOwner(t *testing.T) {
	gone := mapped(t, 8192)
	a, b := guilty{&faulty{vm: newVM(t, "a"), mem: make(chan []byte, 1)}}, newVM(t, "b")
	c, d := &faulty{vm: newVM(t, "c"), mem: make(chan []byte, 1)}, newVM(t, "d")
	type report struct {
		failed []Port
		err    error
	}
	faults := make(chan report, 8)
	l, err := joinLoop([]Port{a, b, c, d}, Config{CPU: -1, IdleAfter: -1, OnFault: func(failed []Port, err error) { faults <- report{failed, err} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.Close()
	}()
	receive := func(v *vm, from *faulty, mem []byte) {
		t.Helper()
		from.mem <- mem
		select {
		case <-v.irq.c:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s receives nothing", v.Name())
		}
	}
	for _, v := range []*vm{b, d} {
		v.Install(v.queues())
		addr, _ := v.rx.Alloc(2048)
		for range 3 {
			v.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 2048)})
		}
		v.rx.Driver.Publish()
		v.rx.Driver.EnableInterrupts()
	}
	receive(d, c, make([]byte, 500))
	a.mem <- gone[:1000]
	select {
	case r := <-faults:
		if _, inMemory := faultAddress(r.err); !inMemory || len(r.failed) != 1 || r.failed[0] != Port(a) {
			t.Errorf("failed %v with %v, want a alone with a memory fault", r.failed, r.err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no fault was reported")
	}
	receive(b, a.faulty, make([]byte, 500))
	d.rx.Driver.Completed()
	var u vring.Used
	d.rx.Driver.Take(&u)
	d.rx.Driver.EnableInterrupts()
	receive(d, c, make([]byte, 500))
	for _, v := range []*vm{b, d} {
		if err := v.rx.Device.Err(); err != nil {
			t.Errorf("%s is innocent and has failed: %v", v.Name(), err)
		}
	}
	var stats Stats
	counted := func() bool {
		stats = Collect([]*Loop{l}) // may be old if the machine is busy
		return len(stats.Ports) == 4 && stats.Ports[1].TxPackets == 1 && stats.Ports[3].TxPackets == 2 &&
			len(stats.Loops) == 1 && stats.Loops[0].BusyRounds >= 2 && // the last two frames can share a round
			stats.Loops[0].BusyNS > 0 && stats.Loops[0].Rounds > stats.Loops[0].BusyRounds
	}
	for deadline := time.Now().Add(5 * time.Second); !counted(); {
		if time.Now().After(deadline) {
			t.Fatalf("counted %+v", stats)
		}
	}
}

// mapped maps n bytes of a file that is truncated then: access raises SIGBUS.
func mapped(t *testing.T, n int) []byte {
	t.Helper()
	mem, vanish := vanishing(t, n)
	vanish()
	return mem
}

// vanishing maps n bytes of a file, which vanish truncates.
func vanishing(t *testing.T, n int) (mem []byte, vanish func()) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "ram")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(int64(n)); err != nil {
		t.Fatal(err)
	}
	mem, err = unix.Mmap(int(file.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem, func() {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
	}
}

// A bug in our own code is reported with a trace.
func TestLoopReportsPanics(t *testing.T) {
	a, b := &panicking{vm: newVM(t, "a")}, newVM(t, "b")
	faults := make(chan error, 1)
	startLoop(t, a, b, Config{CPU: -1, IdleAfter: -1}, func(err error) {
		select {
		case faults <- err:
		default:
		}
	})
	select {
	case err := <-faults:
		if !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "goroutine") {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was reported")
	}
}

type panicking struct {
	*vm
	done bool
}

func (p *panicking) Receive(b *virtionet.Burst) (worked bool) {
	if !p.done {
		p.done = true
		var none []int
		_ = none[b.Len()]
	}
	return false
}

func TestLoopRefusesImpossibleCPU(t *testing.T) {
	a, b := newVM(t, "a"), newVM(t, "b")
	l, err := joinLoop([]Port{a, b}, Config{CPU: 1023})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error)
	go func() { done <- l.Run(context.Background()) }()
	if err := <-done; !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "CPU 1023") {
		t.Errorf("got %v", err)
	}
	a.Install(nil) // must not wait for a loop that is not there
}

func TestStatsTables(t *testing.T) {
	s := Stats{Time: time.Unix(100, 0), Ports: []PortStats{{Name: "a", RxPackets: 1500, RxBytes: 3e6, Drops: map[string]uint64{"runt": 1, "no_peer": 3}}}}
	prev := Stats{Time: time.Unix(98, 0), Ports: []PortStats{{Name: "a", RxPackets: 500, RxBytes: 1e6}}}
	var totals, rates, line bytes.Buffer
	var r Rates
	if err := errors.Join(s.WriteTable(&totals), r.Write(&rates, prev), r.Write(&rates, s), s.WriteJSON(&line)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{totals.String(), "1500"}, {totals.String(), "runt=1 no_peer=3"},
		{rates.String(), "500"}, {rates.String(), "8.00"}, {rates.String(), "runt=0.5 no_peer=1.5"},
		{line.String(), `"rx_packets":1500`},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%q is not in:\n%s", c.want, c.got)
		}
	}
	if strings.Count(line.String(), "\n") != 1 {
		t.Errorf("not one line: %q", line.String())
	}
}
