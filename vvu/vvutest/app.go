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
	Style    vhostuser.Style
	Features virtio.Features          // that its network device has; AllFeatures if 0
	Regions  []vhostuser.MemoryRegion // Regions() if nil
	Entries  int                      // of each ring; 16 if 0
	RxBuffer int                      // bytes of a receive buffer; 2048, the most, if 0
	Polls    bool                     // its guest polls and wants no interrupts
}

// AllFeatures is what a guest's driver knows of what a back-end may offer.
const AllFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx | virtio.IndirectDesc | virtio.NetMAC

// Patience is how long an App waits for what has to come.
const Patience = 10 * time.Second

// App is an app VM with a network device of two rings: front-end and guest in
// one. One goroutine owns it.
type App struct {
	Front *vhostuser.Frontend
	Conn  *vhostuser.Conn

	cfg    AppConfig
	rx, tx *queue
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
	a := &App{cfg: cfg, ram: ram, header: virtionet.HeaderSize(cfg.Features)}
	for q, at := range map[**queue]uint64{&a.rx: 0x100000, &a.tx: highAt} {
		*q = &queue{ram: ram, at: at, entries: cfg.Entries, regions: cfg.Regions, polls: cfg.Polls, kick: -1, call: -1}
		for _, fd := range []*int{&(*q).kick, &(*q).call} {
			var err error
			if *fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
				return nil, errors.Join(err, a.Halt())
			}
		}
		if err := (*q).plan(); err != nil {
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
	a.Front = vhostuser.NewFrontend(a.Conn, vhostuser.FrontendConfig{
		Style: cfg.Style, Features: cfg.Features, Regions: cfg.Regions, Files: files,
		Rings: []vhostuser.FrontendRing{a.rx.ring(), a.tx.ring()},
	})
	return a, nil
}

// hurry bounds how long the front-end waits for replies.
func (a *App) hurry() error { return a.Conn.SetReadDeadline(time.Now().Add(Patience)) }

// Connect negotiates, before the guest runs.
func (a *App) Connect() error { return errors.Join(a.hurry(), a.Front.Connect()) }

// Start is the guest's driver coming up: fresh rings, receive buffers, DRIVER_OK.
// It returns when the back-end has the rings, for real front-ends do not wait.
func (a *App) Start() error {
	for _, q := range []*queue{a.rx, a.tx} {
		if err := q.reset(a.cfg.Features.Has(virtio.EventIdx)); err != nil {
			return err
		}
	}
	for a.rx.Free() > 0 {
		if err := a.offer(); err != nil {
			return err
		}
	}
	if err := errors.Join(a.hurry(), a.Front.Start()); err != nil {
		return err
	}
	want := a.cfg.Features &^ virtio.NetMAC // of these alone the rings know
	if got := a.Front.Features() & want; got != want {
		return fmt.Errorf("the back-end offers %v, want %v", got, want)
	}
	a.rx.publish()
	return a.Settle()
}

// Settle returns when the back-end has handled every message sent so far.
func (a *App) Settle() error {
	_, err := a.Ask(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	return err
}

// Reconnect goes on over a new connection, as the front-end does when it lost the
// one before. The guest's rings are where they were.
func (a *App) Reconnect(path string) error {
	a.Conn.Close()
	var err error
	if a.Conn, err = vhostuser.Dial(path); err != nil {
		return err
	}
	return errors.Join(a.hurry(), a.Front.Reconnect(a.Conn))
}

// Share sends a memory table of its own, with need_reply if asked for, and leaves
// a reply unread.
func (a *App) Share(regions []vhostuser.MemoryRegion, needReply bool) error {
	m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable(regions))
	for range regions {
		m.FDs = append(m.FDs, a.ram.FD)
	}
	if needReply {
		m.Flags |= vhostuser.FlagNeedReply
	}
	return a.Conn.WriteMessage(m)
}

// Done is how many buffers of a ring have come back since Start.
func (a *App) Done(ring int) int { return []*queue{a.rx, a.tx}[ring].done }

// Stop resets the guest's device and returns where the rings stood.
func (a *App) Stop() ([]uint32, error) {
	if err := a.hurry(); err != nil {
		return nil, err
	}
	return a.Front.Stop()
}

// Halt is the end of the VM.
func (a *App) Halt() error {
	for _, q := range []*queue{a.rx, a.tx} {
		if q != nil {
			q.close()
		}
	}
	if a.Conn == nil {
		return nil
	}
	return a.Conn.Close()
}

// Ask sends a message and returns the reply.
func (a *App) Ask(m vhostuser.Message) (vhostuser.Message, error) {
	if err := errors.Join(a.hurry(), a.Conn.WriteMessage(m)); err != nil {
		return m, err
	}
	return a.Conn.ReadMessage()
}

// Kick tells the back-end of new buffers in a ring whether it asks or not.
func (a *App) Kick(ring int) { signal([]*queue{a.rx, a.tx}[ring].kick) }

// CallFD is the eventfd of a ring's interrupt.
func (a *App) CallFD(ring int) int { return []*queue{a.rx, a.tx}[ring].call }

// Interrupted takes a ring's interrupts away and reports whether there was one.
func (a *App) Interrupted(ring int) bool { return take([]*queue{a.rx, a.tx}[ring].call) }

// offer offers one receive buffer, not yet published.
func (a *App) offer() error {
	_, addr, err := a.rx.buffer(a.rx.NextHead())
	if err != nil {
		return err
	}
	_, err = a.rx.Add(nil, []vring.Part{{Addr: addr, Len: uint32(a.cfg.RxBuffer)}})
	return err
}

// Send puts a frame into the transmit ring, waiting for room if there is none.
func (a *App) Send(frame []byte) error {
	deadline := time.Now().Add(Patience)
	for a.reclaim(); a.tx.Free() < 2; a.reclaim() {
		if err := a.tx.sleep(deadline); err != nil {
			return fmt.Errorf("transmit ring is full: %w", err)
		}
	}
	b, addr, err := a.tx.buffer(a.tx.NextHead())
	if err != nil {
		return err
	}
	clear(b[:a.header])
	n := copy(b[a.header:], frame)
	if n < len(frame) {
		return fmt.Errorf("frame of %d bytes does not fit the buffer", len(frame))
	}
	head := vring.Part{Addr: addr, Len: uint32(a.header)}
	if _, err := a.tx.Add([]vring.Part{head, {Addr: addr + uint64(a.header), Len: uint32(n)}}, nil); err != nil {
		return err
	}
	a.tx.publish()
	return nil
}

// reclaim takes back buffers of frames that were sent.
func (a *App) reclaim() {
	var u vring.Used
	a.tx.Completed()
	for a.tx.take(&u) {
	}
}

// Sent waits until every frame has been taken.
func (a *App) Sent() error {
	deadline := time.Now().Add(Patience)
	for a.reclaim(); a.tx.Outstanding() > 0; a.reclaim() {
		if err := a.tx.sleep(deadline); err != nil {
			return fmt.Errorf("%d frames are not taken: %w", a.tx.Outstanding(), err)
		}
	}
	return nil
}

// Receive waits for a frame, sleeping until an interrupt comes unless one is
// there, and offers its buffers again.
func (a *App) Receive() ([]byte, error) {
	deadline := time.Now().Add(Patience)
	var frame []byte
	for left := 1; left > 0; left-- {
		if err := a.rx.sleep(deadline); err != nil {
			return nil, fmt.Errorf("receive ring: %w", err)
		}
		var u vring.Used
		if !a.rx.take(&u) {
			return nil, fmt.Errorf("receive ring: %w", a.rx.Err())
		}
		b, _, err := a.rx.buffer(u.Head)
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
		if err := a.offer(); err != nil {
			return nil, err
		}
	}
	a.rx.publish()
	return frame, nil
}

// FallAsleep makes the guest wait for the next completion in a ring, as a driver
// does that has taken all there is.
func (a *App) FallAsleep(ring int) error {
	q := []*queue{a.rx, a.tx}[ring]
	a.reclaim()
	take(q.call)
	if q.EnableInterrupts() {
		return errors.New("something is complete already")
	}
	return nil
}

// AwaitInterrupt waits for the interrupt of a guest that fell asleep.
func (a *App) AwaitInterrupt(ring int) error { return wait([]*queue{a.rx, a.tx}[ring].call, Patience) }

// Completed reports whether everything in a ring is complete.
func (a *App) Completed(ring int) bool {
	q := []*queue{a.rx, a.tx}[ring]
	return q.Completed() == q.Outstanding()
}

// CorruptAvail moves a ring's avail index further ahead than the ring is long.
func (a *App) CorruptAvail(ring int) {
	q := []*queue{a.rx, a.tx}[ring]
	at := q.at + uint64(vring.TableBytes(q.entries)) + 2
	q.ram.Bytes[at+1] += 0x40
	a.Kick(ring)
}
