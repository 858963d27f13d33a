package vhostuser

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// model is a data path and a transport in one: what a Frontend writes is handled
// at once, effects are applied to rings that only count, replies wait to be
// read. Every rule that a caller of Backend may rely on is checked here.
type model struct {
	t       *testing.T
	b       *Backend
	replies []Message
	orders  []string // numbers of the requests seen
	effects []string
	running map[int]bool
	at      map[int]uint32 // position of rings that run
	refused []error

	realFiles bool // replies bring files of their own
}

var errHang = errors.New("the front-end waits for a reply that will never come")

func newModel(t *testing.T, cfg BackendConfig) *model {
	return &model{t: t, b: NewBackend(cfg), running: map[int]bool{}, at: map[int]uint32{}}
}

// WriteMessage hands a message over in wire form, with its descriptors.
func (d *model) WriteMessage(m Message) error {
	d.t.Helper()
	parsed, err := Parse(m.Append(nil))
	if err != nil {
		return err
	}
	parsed.FDs = m.FDs
	return d.handle(parsed)
}

func (d *model) handle(m Message) error {
	d.t.Helper()
	d.orders = append(d.orders, fmt.Sprint(uint32(m.Request)))
	reply, effects, err := d.b.Handle(m)
	for _, e := range effects {
		d.effects = append(d.effects, e.String())
		if r := d.apply(e); r != nil {
			if reply != nil {
				d.t.Errorf("%v has a reply and %v", m, e)
			}
			reply = r
		}
	}
	d.checkRings(m)
	if reply != nil {
		d.replies = append(d.replies, *reply)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		d.refused = append(d.refused, err)
		return nil
	}
	return err
}

func (d *model) apply(e Effect) *Message {
	d.t.Helper()
	if e.Index < 0 || e.Index >= d.b.Rings() {
		d.t.Errorf("effect %v is for a ring that is not served", e)
	}
	switch e.Kind {
	case EffectReset:
		clear(d.running)
	case EffectRing:
		d.start(e.Index)
	case EffectMemory, EffectFeatures:
		for i := range d.b.Rings() {
			d.start(i)
		}
	case EffectInflightNew:
		fd := -1
		if d.realFiles {
			var err error
			if fd, err = unix.MemfdCreate("inflight", unix.MFD_CLOEXEC); err != nil {
				d.t.Fatal(err)
			}
		}
		r := d.b.InflightReply(4096, fd)
		return &r
	case EffectStop:
		if !d.running[e.Index] {
			d.t.Errorf("ring %d is to be stopped but does not run", e.Index)
		}
		delete(d.running, e.Index)
		r := d.b.Stopped(e.Index, d.at[e.Index])
		return &r
	case EffectSignal:
		if s := d.b.Ring(e.Index); !s.Ready || !s.Callable {
			d.t.Errorf("ring %d is signalled in state %+v", e.Index, s)
		}
	}
	return nil
}

// start makes the ring what the machine says, as a data path would.
func (d *model) start(i int) {
	s := d.b.Ring(i)
	if s.Ready && !d.running[i] {
		d.at[i] = s.Base
	}
	if d.running[i] && !s.Ready {
		d.b.Stopped(i, d.at[i])
	}
	if d.running[i] = s.Ready; !s.Ready {
		delete(d.running, i)
	}
}

// checkRings checks that no change of a ring went without an effect.
func (d *model) checkRings(m Message) {
	d.t.Helper()
	for i := range d.b.Rings() {
		if s := d.b.Ring(i); s.Ready != d.running[i] {
			d.t.Errorf("after %v ring %d is ready=%v but running=%v", m, i, s.Ready, d.running[i])
		}
	}
}

// work lets every running ring consume n buffers.
func (d *model) work(n uint32) {
	for i := range d.running {
		d.at[i] = (d.at[i] + n) & 0xffff
	}
}

func (d *model) ReadMessage() (Message, error) {
	if len(d.replies) == 0 {
		return Message{}, errHang
	}
	r := d.replies[0]
	d.replies = d.replies[1:]
	return r, nil
}

// bounce is a fall of the device's status, as a driver goes through it.
func (d *model) bounce() {
	for i := range d.running {
		d.b.Stopped(i, d.at[i])
	}
	clear(d.running)
	d.b.Bounce()
}

// quiet checks that nothing was sent that no one reads.
func (d *model) quiet() {
	d.t.Helper()
	for _, r := range d.replies {
		d.t.Errorf("reply that no one asked for: %v", r)
	}
	d.replies = nil
}

// takeOrders returns the requests since the last call, as "1 15 16".
func (d *model) takeOrders() string {
	s := strings.Join(d.orders, " ")
	d.orders = nil
	return s
}

// takeEffects returns the effects since the last call, as "memory, ring 0".
func (d *model) takeEffects() string {
	s := strings.Join(d.effects, ", ")
	d.effects = nil
	return s
}

// runningRings returns the rings that run, in order.
func (d *model) runningRings() []int {
	var is []int
	for i := range d.running {
		is = append(is, i)
	}
	slices.Sort(is)
	return is
}

// must handles messages that have to succeed.
func (d *model) must(ms ...Message) {
	d.t.Helper()
	for _, m := range ms {
		if err := d.handle(m); err != nil {
			d.t.Fatalf("%v: %v", m, err)
		}
	}
}
