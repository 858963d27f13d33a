package vvutest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// AppConfig describes an app VM.
type AppConfig struct {
	Style     vhostuser.Style
	Features  virtio.Features          // that its network device has; AllFeatures if 0
	Regions   []vhostuser.MemoryRegion // Regions() if nil
	Entries   int                      // of each ring; 16 if 0
	RxBuffers int                      // receive buffers that are offered; as many as the ring has entries if 0
	RxBuffer  int                      // bytes of a receive buffer; 2048, the most, if 0
	Polls     bool                     // its guest polls and wants no interrupts
	NoKicks   bool                     // its front-end gives no descriptors for kicks: it wants to be polled
	Pairs     int                      // queue pairs; 1 if 0, at most 8
	Control   bool                     // it has a control queue, the ring after those of all pairs
}

// AllFeatures is what a guest's driver knows of what a back-end may offer.
const AllFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx | virtio.IndirectDesc | virtio.NetMAC

// Patience is how long an App waits for what has to come.
const Patience = 10 * time.Second

// App is an app VM with a network device of one or more queue pairs: front-end and
// guest in one. Ring 2i is the receive ring of pair i, ring 2i+1 its transmit ring. One
// goroutine owns it.
type App struct {
	Front *vhostuser.Frontend
	Conn  *vhostuser.Conn

	cfg    AppConfig
	queues []*queue // by ring
	ram    *RAM
	header int // bytes before a frame
}

// Boot starts a VM whose monitor connects to the socket at path. Negotiation is
// left to Connect, and use of the RAM to Start: until Connect returns, a VM before
// this one may not be known to be gone.
func Boot(ram *RAM, path string, cfg AppConfig) (*App, error) {
	if cfg.Features == 0 {
		cfg.Features = AllFeatures
	}
	if cfg.Regions == nil {
		cfg.Regions = Regions()
	}
	if cfg.Entries == 0 {
		cfg.Entries = 16
	}
	if cfg.RxBuffer == 0 {
		cfg.RxBuffer = bufferBytes
	}
	if cfg.Pairs == 0 {
		cfg.Pairs = 1
	}
	if cfg.Pairs > 1 {
		cfg.Features |= virtio.NetMQ
		if cfg.Pairs > 8 || buffersAt+cfg.Entries*bufferBytes > pairStride {
			return nil, fmt.Errorf("%d queue pairs with rings of %d do not fit the RAM", cfg.Pairs, cfg.Entries)
		}
	}
	a := &App{cfg: cfg, ram: ram, header: virtionet.HeaderSize(cfg.Features)}
	rings := 2 * cfg.Pairs
	if cfg.Control {
		rings++
	}
	for ring := range rings {
		at := uint64(ring/2*pairStride) + []uint64{0x100000, highAt}[ring%2]
		if ring == 2*cfg.Pairs {
			at = controlAt
		}
		q := &queue{ram: ram, at: at, entries: cfg.Entries, regions: cfg.Regions, polls: cfg.Polls, silent: cfg.NoKicks, kick: -1, call: -1}
		a.queues = append(a.queues, q)
		for _, fd := range []*int{&q.kick, &q.call} {
			var err error
			if *fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
				return nil, errors.Join(err, a.Halt())
			}
		}
		if err := q.plan(); err != nil {
			return nil, errors.Join(err, a.Halt())
		}
	}
	var err error
	if a.Conn, err = vhostuser.Dial(path); err != nil {
		return nil, errors.Join(err, a.Halt())
	}
	files := make([]int, len(cfg.Regions))
	for i := range files {
		files[i] = ram.FD
	}
	front := vhostuser.FrontendConfig{Style: cfg.Style, Features: cfg.Features, Regions: cfg.Regions, Files: files}
	for _, q := range a.queues {
		front.Rings = append(front.Rings, q.ring())
	}
	a.Front = vhostuser.NewFrontend(a.Conn, front)
	return a, nil
}

// armDeadline bounds how long the front-end waits for replies.
func (a *App) armDeadline() error { return a.Conn.SetReadDeadline(time.Now().Add(Patience)) }

// Connect negotiates, before the guest runs.
func (a *App) Connect() error { return errors.Join(a.armDeadline(), a.Front.Connect()) }

// Start is the guest's driver coming up: fresh rings, receive buffers, DRIVER_OK.
// It returns when the back-end has the rings, for real front-ends do not wait.
func (a *App) Start() error {
	for ring, q := range a.queues {
		if err := a.Renew(ring); err != nil {
			return err
		}
		if a.cfg.Features.Has(virtio.RingPacked) && q.Publish() { // half shown it would tell the wrong place
			signal(q.kick)
		}
	}
	if err := errors.Join(a.armDeadline(), a.Front.Start()); err != nil {
		return err
	}
	want := a.cfg.Features &^ virtio.NetMAC // of these alone the rings know
	if got := a.Front.Features() & want; got != want {
		return fmt.Errorf("the back-end offers %v, want %v", got, want)
	}
	for ring := range a.queues {
		a.queues[ring].publish()
	}
	return a.Settle()
}

// Renew lays a ring out again, as a guest's driver does after its reset, with all receive
// buffers in place, which Publish or Start show to the back-end.
func (a *App) Renew(ring int) error {
	q := a.queues[ring]
	if err := q.reset(a.cfg.Features); err != nil {
		return err
	}
	for ring%2 == 0 && ring < 2*a.cfg.Pairs && q.Free() > 0 && (a.cfg.RxBuffers == 0 || q.Outstanding() < a.cfg.RxBuffers) {
		if err := a.offer(q); err != nil {
			return err
		}
	}
	return nil
}

// Resize gives a ring another number of entries, with its next Renew. It must be stopped.
func (a *App) Resize(ring, entries int) { a.queues[ring].entries = entries }

// Publish shows the back-end what was added to a ring.
func (a *App) Publish(ring int) { a.queues[ring].publish() }

// Done is how many buffers of a ring have come back since Start.
func (a *App) Done(ring int) int { return a.queues[ring].done }

// Taken is how many buffers of a ring the back-end has given back since the ring was laid
// out, whether or not the guest has looked.
func (a *App) Taken(ring int) int {
	q := a.queues[ring]
	return q.done + q.Completed()
}

// Stop resets the guest's device and returns where the rings stood.
func (a *App) Stop() ([]uint32, error) {
	if err := a.armDeadline(); err != nil {
		return nil, err
	}
	return a.Front.Stop()
}

// Halt is the end of the VM.
func (a *App) Halt() error {
	for _, q := range a.queues {
		q.close()
	}
	if a.Conn == nil {
		return nil
	}
	if a.Front != nil {
		a.Front.DropInflight()
	}
	return a.Conn.Close()
}

// Kick tells the back-end of new buffers in a ring whether it asks or not.
func (a *App) Kick(ring int) { signal(a.queues[ring].kick) }

// CallFD is the eventfd of a ring's interrupt.
func (a *App) CallFD(ring int) int { return a.queues[ring].call }

// Interrupted takes a ring's interrupts away and reports whether there was one.
func (a *App) Interrupted(ring int) bool { return take(a.queues[ring].call) }

// offer offers one receive buffer, not yet published.
func (a *App) offer(rx *queue) error {
	_, addr, err := rx.buffer(rx.NextHead())
	if err != nil {
		return err
	}
	_, err = rx.Add(nil, []vring.Part{{Addr: addr, Len: uint32(a.cfg.RxBuffer)}})
	return err
}

// Send is SendTo the first pair.
func (a *App) Send(frame []byte) error { return a.SendTo(0, frame) }

// SendTo puts a frame into the transmit ring of a pair, waiting for room if there is
// none.
func (a *App) SendTo(pair int, frame []byte) error {
	tx := a.queues[2*pair+1]
	deadline := time.Now().Add(Patience)
	for tx.reclaim(); tx.Free() < 2; tx.reclaim() {
		if err := tx.sleep(deadline); err != nil {
			return fmt.Errorf("transmit ring is full: %w", err)
		}
	}
	b, addr, err := tx.buffer(tx.NextHead())
	if err != nil {
		return err
	}
	clear(b[:a.header])
	n := copy(b[a.header:], frame)
	if n < len(frame) {
		return fmt.Errorf("frame of %d bytes does not fit the buffer", len(frame))
	}
	head := vring.Part{Addr: addr, Len: uint32(a.header)}
	if _, err := tx.Add([]vring.Part{head, {Addr: addr + uint64(a.header), Len: uint32(n)}}, nil); err != nil {
		return err
	}
	tx.publish()
	return nil
}

// TrySend puts a frame into the transmit ring of a pair if there is room.
func (a *App) TrySend(pair int, frame []byte) error {
	if !a.Room(pair) {
		return nil
	}
	return a.SendTo(pair, frame)
}

// Room reports whether there is room for a frame in the transmit ring of a pair.
func (a *App) Room(pair int) bool {
	tx := a.queues[2*pair+1]
	tx.reclaim()
	return tx.Free() >= 2
}

// Sent waits until every frame has been taken.
func (a *App) Sent() error {
	deadline := time.Now().Add(Patience)
	for ring := 1; ring < len(a.queues); ring += 2 {
		tx := a.queues[ring]
		for tx.reclaim(); tx.Outstanding() > 0; tx.reclaim() {
			if err := tx.sleep(deadline); err != nil {
				return fmt.Errorf("%d frames are not taken: %w", tx.Outstanding(), err)
			}
		}
	}
	return nil
}

// Waiting reports whether something has been completed in a ring that was not taken yet.
func (a *App) Waiting(ring int) bool { return a.queues[ring].Completed() > 0 }

// Receive is ReceiveFrom the first pair.
func (a *App) Receive() ([]byte, error) { return a.ReceiveFrom(0) }

// TryReceive is TryReceiveFrom the first pair.
func (a *App) TryReceive() ([]byte, error) { return a.TryReceiveFrom(0) }

// TryReceiveFrom is ReceiveFrom if a frame has arrived, which must be in one buffer; else
// it returns nil.
func (a *App) TryReceiveFrom(pair int) ([]byte, error) {
	rx := a.queues[2*pair]
	rx.Completed()
	var u vring.Used
	if !rx.take(&u) {
		return nil, rx.Err()
	}
	b, _, err := rx.buffer(u.Head)
	if err != nil {
		return nil, err
	}
	if int(u.Len) < a.header || int(u.Len) > len(b) {
		return nil, fmt.Errorf("%d bytes in a receive buffer", u.Len)
	}
	frame := append([]byte{}, b[a.header:u.Len]...)
	if err := a.offer(rx); err != nil {
		return nil, err
	}
	rx.publish()
	return frame, nil
}

// ReceiveFrom waits for a frame in the receive ring of a pair, sleeping until an
// interrupt comes unless one is there, and offers its buffers again.
func (a *App) ReceiveFrom(pair int) ([]byte, error) {
	rx := a.queues[2*pair]
	deadline := time.Now().Add(Patience)
	var frame []byte
	for left := 1; left > 0; left-- {
		if err := rx.sleep(deadline); err != nil {
			return nil, fmt.Errorf("receive ring: %w", err)
		}
		var u vring.Used
		if !rx.take(&u) {
			return nil, fmt.Errorf("receive ring: %w", rx.Err())
		}
		b, _, err := rx.buffer(u.Head)
		if err != nil {
			return nil, err
		}
		b = b[:u.Len]
		if frame == nil {
			if len(b) < a.header {
				return nil, fmt.Errorf("%d bytes in a receive buffer", len(b))
			}
			if a.cfg.Features.Has(virtio.NetMrgRxbuf) {
				left = int(binary.LittleEndian.Uint16(b[10:]))
			}
			b, frame = b[a.header:], []byte{}
		}
		frame = append(frame, b...)
		if err := a.offer(rx); err != nil {
			return nil, err
		}
	}
	rx.publish()
	return frame, nil
}

// FallAsleep makes the guest wait for the next completion in a ring, as a driver
// does that has taken all there is.
func (a *App) FallAsleep(ring int) error {
	q := a.queues[ring]
	q.reclaim()
	take(q.call)
	if q.EnableInterrupts() {
		return errors.New("something is complete already")
	}
	return nil
}

// AwaitInterrupt waits for the interrupt of a guest that fell asleep.
func (a *App) AwaitInterrupt(ring int) error { return wait(a.queues[ring].call, Patience) }

// Completed reports whether everything in a ring is complete.
func (a *App) Completed(ring int) bool {
	q := a.queues[ring]
	return q.Completed() == q.Outstanding()
}

// CorruptAvail moves a ring's avail index further ahead than the ring is long.
func (a *App) CorruptAvail(ring int) {
	q := a.queues[ring]
	at := q.at + uint64(vring.TableBytes(q.entries)) + 2
	q.ram.Bytes[at+1] += 0x40
	a.Kick(ring)
}
