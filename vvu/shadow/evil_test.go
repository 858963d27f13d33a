package shadow_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// evilRig is a Shadow whose driver VM the test plays, message by message and byte by byte, with a
// wire in the app VM's place.
type evilRig struct {
	t       *testing.T
	memory  *shadow.Memory
	shadow  *shadow.Shadow
	wire    *vvutest.Wire
	logs    *observer.ObservedLogs
	b       *netfwd.Balancer
	serving sync.WaitGroup // sessions, at the driver VM's side

	mu       sync.Mutex
	answer   func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message // what is answered instead
	features virtio.Features                                                        // offered

	sessions chan *evil // with rings that run
}

// evil is the driver VM's side of a session.
type evil struct {
	r       *evilRig
	conn    *vhostuser.Conn
	backend *vhostuser.Backend
	region  vhostuser.MemoryRegion
	bytes   []byte // the region
	rings   []*vring.Device
	kicks   []int
	calls   []int
}

const evilFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx | virtio.RingPacked | virtio.NetOffloads | virtio.NetMQ

func newEvilRig(t *testing.T, packed bool) *evilRig {
	t.Helper()
	return newEvilRigs(t, packed, func(_ int, w *vvutest.Wire) netfwd.Port { return w })[0]
}

// newEvilRigs makes a Shadow for each of some app VMs, which one loop serves. wrap gives what the
// loop sees of the wire behind the i-th.
func newEvilRigs(t *testing.T, packed bool, wraps ...func(i int, w *vvutest.Wire) netfwd.Port) (rigs []*evilRig) {
	t.Helper()
	var links []netfwd.Link
	for i, wrap := range wraps {
		r := makeEvilRig(t, packed)
		rigs = append(rigs, r)
		links = append(links, netfwd.Link{{Queues: []netfwd.Port{wrap(i, r.wire)}}, {Queues: []netfwd.Port{r.shadow.Ports()[0]}, Spread: r.shadow.Spread}})
	}
	b, stopLoop := netfwdtest.Run(t, links, []netfwd.Config{{
		CPU: -1, IdleAfter: 50 * time.Microsecond, OnFault: func(_ []netfwd.Port, err error) { t.Errorf("the loop met a fault: %v", err) },
	}})
	var stops []func()
	for _, r := range rigs {
		r.b = b
		stops = append(stops, goRun(r.shadow.Run))
	}
	t.Cleanup(func() {
		for _, stop := range stops {
			stop()
		}
		stopLoop()
		for _, r := range rigs {
			r.serving.Wait()
			must(t, r.memory.Close())
			if t.Failed() {
				for _, e := range r.logs.All() {
					t.Log(e.Message, e.ContextMap())
				}
			}
		}
	})
	return rigs
}

// makeEvilRig makes one that no loop serves yet.
func makeEvilRig(t *testing.T, packed bool) *evilRig {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	r := &evilRig{t: t, wire: vvutest.NewWire(t), logs: logs, features: evilFeatures, sessions: make(chan *evil, 64)}
	var err error
	r.memory, err = shadow.NewMemory(shadow.Need(1))
	must(t, err)
	connect := func() (*net.UnixConn, error) {
		ours, theirs := pair(t)
		r.serving.Go(func() { r.serve(theirs) })
		return ours, nil
	}
	r.shadow, err = shadow.New(shadow.Config{Name: "shadow", Memory: r.memory, Pairs: 1, Packed: packed, Connect: connect, Log: zap.New(core)})
	must(t, err)
	return r
}

// pair is two sockets that are connected.
func pair(t *testing.T) (a, b *net.UnixConn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	for i, c := range []**net.UnixConn{&a, &b} {
		f := os.NewFile(uintptr(fds[i]), "pair")
		conn, err := net.FileConn(f)
		f.Close()
		must(t, err)
		*c = conn.(*net.UnixConn)
	}
	return a, b
}

// serve is a back-end for one session.
func (r *evilRig) serve(sock *net.UnixConn) {
	r.mu.Lock()
	features := r.features
	r.mu.Unlock()
	e := &evil{r: r, conn: vhostuser.NewConn(sock), backend: vhostuser.NewBackend(vhostuser.BackendConfig{
		Features: features, Protocol: vhostuser.ProtoMQ | vhostuser.ProtoReplyAck | vhostuser.ProtoMTU, Rings: 2,
	}), rings: make([]*vring.Device, 2), kicks: []int{-1, -1}, calls: []int{-1, -1}}
	defer e.conn.Close()
	for {
		m, err := e.conn.ReadMessage()
		if err != nil {
			return
		}
		reply, effects, err := e.handle(m)
		if err != nil {
			r.t.Errorf("%v: %v", m, err)
			return
		}
		r.mu.Lock()
		if r.answer != nil {
			reply = r.answer(m, reply)
		}
		r.mu.Unlock()
		if reply != nil && e.conn.WriteMessage(*reply) != nil {
			return
		}
		for _, f := range effects {
			if f.Kind == vhostuser.EffectRing && f.Index == 1 && e.backend.Ring(1).Enabled && e.backend.Ring(1).Ready {
				r.sessions <- e
			}
		}
	}
}

func (e *evil) handle(m vhostuser.Message) (*vhostuser.Message, []vhostuser.Effect, error) {
	switch m.Request {
	case vhostuser.SetMemTable:
		var table vhostuser.MemoryTable
		if err := table.Decode(m.Payload); err != nil || len(table) != 1 {
			return nil, nil, err
		}
		e.region = table[0]
		b, err := unix.Mmap(m.FDs[0], 0, int(e.region.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, nil, err
		}
		e.r.t.Cleanup(func() { unix.Munmap(b) })
		e.bytes = b
	case vhostuser.SetVringKick, vhostuser.SetVringCall:
		var v vhostuser.VringFD
		if err := v.Decode(m.Payload); err != nil {
			return nil, nil, err
		}
		fds := e.kicks
		if m.Request == vhostuser.SetVringCall {
			fds = e.calls
		}
		fd := m.FDs[0]
		fds[v.Index], m.FDs = fd, nil
		e.r.t.Cleanup(func() { unix.Close(fd) })
	}
	m.CloseFDs()
	reply, effects, err := e.backend.Handle(m)
	for _, f := range effects {
		if f.Kind == vhostuser.EffectStop {
			stopped := e.backend.Stopped(f.Index, e.backend.Ring(f.Index).Base)
			reply = &stopped
		}
	}
	return reply, effects, err
}

// ring is a ring as an honest device has it.
func (e *evil) ring(i int) *vring.Device {
	if e.rings[i] == nil {
		table, err := mem.New([]mem.Region{{GPA: mem.GPA(e.region.GPA), UVA: e.region.UVA, Mem: e.bytes}})
		must(e.r.t, err)
		s, packed := e.backend.Ring(i), e.packed()
		gpa := func(user uint64) mem.GPA { return mem.GPA(user - e.region.UVA + e.region.GPA) }
		cfg := vring.DeviceConfig{Size: int(s.Num), Mem: table, Packed: packed, EventIdx: true, Desc: gpa(s.Desc), Avail: gpa(s.Avail), Used: gpa(s.Used)}
		if packed {
			cfg.NextAvail = vring.FirstSlot
		}
		e.rings[i], err = vring.NewDevice(cfg)
		must(e.r.t, err)
	}
	return e.rings[i]
}

func (e *evil) packed() bool { return e.backend.Features().Has(virtio.RingPacked) }

// part is a part of a ring, as bytes of the region.
func (e *evil) part(user uint64) []byte { return e.bytes[user-e.region.UVA:] }

// arrive writes pieces into a buffer each and completes them.
func (e *evil) arrive(pieces ...[]byte) {
	q := e.ring(0)
	q.Available()
	for _, p := range pieces {
		var c vring.Chain
		if !q.Pop(&c) { // who has got a frame may see it before its buffer is back
			eventually(e.r.t, "a receive buffer", func() bool {
				q.Available()
				return q.Pop(&c)
			})
		}
		q.Push(c.Head, uint32(copy(c.Write[0], p)))
	}
	q.ResetViews()
	q.Publish()
	e.call(0)
}

// call rings our bell.
func (e *evil) call(ring int) { unix.Write(e.calls[ring], []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// connect has the app VM's front-end connect, and returns the session that follows.
func (r *evilRig) connect(number uint64) *evil {
	r.t.Helper()
	r.shadow.SetFrontend(shadow.Frontend{Session: number})
	return r.session()
}

// session waits for the next session with rings.
func (r *evilRig) session() *evil {
	r.t.Helper()
	select {
	case e := <-r.sessions:
		// The rings run; now someone has to forward. A session that has ended meanwhile is none.
		eventually(r.t, "a forwarder", func() bool {
			return r.shadow.Ports()[0].State() == virtionet.StateActive || len(r.sessions) > 0
		})
		return e
	case <-time.After(vvutest.Patience):
		r.t.Fatal("there is no session")
		return nil
	}
}

// goRun runs f until the returned function is called, which waits for it to end.
func goRun(f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}
