package port

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// guestBase is where the memory begins for descriptors. It is no address of
// this process: a back-end that confuses guest-physical and user addresses fails
// here and not first with a real guest.
const guestBase = 1 << 32

// Rings of a queue pair, by vhost-user index.
const (
	receiveRing  = 0
	transmitRing = 1
)

// Port is a connected vhost-user front-end with one queue pair. Tx and Rx may
// be used by one goroutine each; Err may be called from anywhere; Close when both
// have stopped.
type Port struct {
	Tx Tx
	Rx Rx

	cfg      Config
	memory   *memory
	conn     *vhostuser.Conn
	frontend *vhostuser.Frontend
	watcher  *watcher
	events   [4]int // kick and call of both rings, -1 if not open
}

// Open connects, negotiates and starts the rings, all within bounded time. The
// receive buffers are with the back-end when it returns. Errors name the socket.
func Open(ctx context.Context, cfg Config) (*Port, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("port %s: %w", cfg.Socket, err)
	}
	p := &Port{cfg: cfg, events: [4]int{-1, -1, -1, -1}}
	if err := p.open(ctx); err != nil {
		return nil, fmt.Errorf("port %s: %w", cfg.Socket, errors.Join(err, p.release()))
	}
	return p, nil
}

func (p *Port) open(ctx context.Context) (err error) {
	n := p.cfg.QueueSize
	txAt := place(0, n, Header+p.cfg.FrameSize)
	rxAt := place(txAt.end, n, p.cfg.receiveRoom())
	if p.cfg.Memory != nil {
		p.memory, err = mapGiven(p.cfg.Memory, rxAt.end)
	} else {
		p.memory, err = newMemory(rxAt.end)
	}
	if err != nil {
		return err
	}
	for i := range p.events {
		if p.events[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return fmt.Errorf("create eventfd: %w", err)
		}
	}
	if p.conn, err = join(ctx, p.cfg); err != nil {
		return err
	}
	if err = p.start(rxAt, txAt); err != nil {
		return err
	}
	features := p.Features()
	if err = p.checkFeatures(features); err != nil {
		return err
	}
	p.makeQueues(rxAt, txAt, features)
	if p.watcher, err = watch(p.conn); err != nil {
		return err
	}
	p.Rx.Return()
	p.Rx.Settle()
	return nil
}

// start negotiates and hands the rings over, in the order of a poll-mode driver.
// They are empty: the memory is still zero, and an avail.idx of zero says so.
func (p *Port) start(rxAt, txAt placement) error {
	user := address(p.memory.bytes)
	describe := func(at placement, kick, call int) vhostuser.FrontendRing {
		return vhostuser.FrontendRing{
			Num: uint32(p.cfg.QueueSize), Kick: kick, Call: call,
			Desc: user + uint64(at.desc), Avail: user + uint64(at.avail), Used: user + uint64(at.used),
		}
	}
	p.frontend = vhostuser.NewFrontend(patient{p.conn, p.cfg.Timeout}, vhostuser.FrontendConfig{
		Style:    vhostuser.VirtioUser,
		Features: virtio.Version1 | p.cfg.Features,
		Regions:  []vhostuser.MemoryRegion{{GPA: guestBase, Size: uint64(len(p.memory.bytes)), UVA: user}},
		Files:    []int{int(p.memory.file.Fd())},
		Rings: []vhostuser.FrontendRing{
			receiveRing:  describe(rxAt, p.events[0], p.events[1]),
			transmitRing: describe(txAt, p.events[2], p.events[3]),
		},
	})
	if err := p.frontend.Connect(); err != nil {
		return err
	}
	return p.frontend.Start()
}

func (p *Port) checkFeatures(f virtio.Features) error {
	if !f.Has(virtio.Version1) {
		return errors.New("the back-end does not offer VERSION_1, which a modern driver needs: use a back-end with virtio 1.0")
	}
	if room := p.cfg.receiveRoom() - Header; !f.Has(virtio.NetMrgRxbuf) && p.cfg.FrameSize > room {
		return fmt.Errorf("the back-end does not offer MRG_RXBUF, and frames of %d bytes do not fit buffers of %d: use --mergeable=false",
			p.cfg.FrameSize, room)
	}
	if p.cfg.Features.Has(virtio.RingPacked) && !f.Has(virtio.RingPacked) {
		return errors.New("the back-end does not offer RING_PACKED: leave out --packed")
	}
	return nil
}

func (p *Port) makeQueues(rxAt, txAt placement, f virtio.Features) {
	mem, n := p.memory.bytes, p.cfg.QueueSize
	mode := ringMode{eventIdx: f.Has(virtio.EventIdx), packed: f.Has(virtio.RingPacked)}
	p.Rx = Rx{
		ring:    newRing(mem, rxAt, n, guestBase, rxAt.room, true, mode),
		buffers: mem[rxAt.buffers:rxAt.end], stride: rxAt.stride,
		kick: p.events[0], mergeable: f.Has(virtio.NetMrgRxbuf),
	}
	mode.indirect = f.Has(virtio.IndirectDesc) // of use only where a buffer has parts
	p.Tx = Tx{
		ring:    newRing(mem, txAt, n, guestBase, txAt.room, false, mode),
		buffers: mem[txAt.buffers:txAt.end], stride: txAt.stride, frame: p.cfg.FrameSize,
		kick: p.events[2], inOrder: f.Has(virtio.InOrder),
	}
}

// Features are those that both sides have.
func (p *Port) Features() virtio.Features { return p.frontend.Features() }

// Socket is the path that the port was opened with.
func (p *Port) Socket() string { return p.cfg.Socket }

// HugePages reports whether the shared memory is made of huge pages.
func (p *Port) HugePages() bool { return p.memory.huge }

// BuffersPerFrame is how many receive buffers a frame of the configured size
// takes.
func (p *Port) BuffersPerFrame() int {
	room := p.cfg.receiveRoom()
	return (Header + p.cfg.FrameSize + room - 1) / room
}

// Err says why the port is of no use any more: the back-end went away or broke
// a ring. It is nil while all is well. Only the goroutine that uses Tx and Rx may
// call it while they run.
func (p *Port) Err() error {
	err := p.Tx.Err()
	if err == nil {
		err = p.Rx.Err()
	}
	if err == nil {
		err = p.Gone()
	}
	if err != nil {
		return fmt.Errorf("port %s: %w", p.cfg.Socket, err)
	}
	return nil
}

// Gone says why the connection has ended, or is nil. It is safe for concurrent
// use.
func (p *Port) Gone() error { return p.watcher.err() }

// Close stops the rings as a guest's driver does and frees everything. A
// back-end that has gone away is no error here; Err has said so.
func (p *Port) Close() error {
	var err error
	if p.watcher.stop() == nil {
		if _, err = p.frontend.Stop(); err != nil {
			err = fmt.Errorf("port %s: %w", p.cfg.Socket, err)
		}
	}
	return errors.Join(err, p.release())
}

func (p *Port) release() error {
	var errs []error
	if p.conn != nil {
		errs = append(errs, p.conn.Close())
	}
	for i, fd := range p.events {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
			p.events[i] = -1
		}
	}
	if p.memory != nil {
		errs = append(errs, p.memory.Close())
	}
	return errors.Join(errs...)
}
