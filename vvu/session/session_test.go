package session

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/vhostuser"
)

// fakeCarrier has memory of its own, or what the test gives it, and kicks that the test chooses.
type fakeCarrier struct {
	kicks  [2*MaxPairs + 1]int
	memory []byte
	refuse bool         // to map anything
	logs   bool         // those can be mapped
	log    []byte       // that was mapped last
	mapped atomic.Int32 // tables
}

func (c *fakeCarrier) Map(regions []vhostuser.MemoryRegion) (*Memory, error) {
	if c.refuse {
		return nil, errors.New("no memory is left")
	}
	views := make([]mem.Region, len(regions))
	for i, r := range regions {
		memory := c.memory
		if memory == nil {
			memory = make([]byte, r.Size)
		}
		views[i] = mem.Region{GPA: mem.GPA(r.GPA), UVA: r.UVA, Mem: memory}
	}
	table, err := mem.New(views)
	c.mapped.Add(1)
	return &Memory{Table: table, Unmap: func() error { c.mapped.Add(-1); return nil }}, err
}

func (c *fakeCarrier) MapLog(_ vhostuser.Log, need uint64) (*LogMemory, error) {
	if !c.logs {
		return nil, errors.New("no logs here")
	}
	c.log = make([]byte, (need+mem.DirtyPage-1)/mem.DirtyPage*mem.DirtyPage)
	return &LogMemory{Words: c.log, Size: need, Unmap: func() error { return nil }}, nil
}

func (c *fakeCarrier) NewInflight(uint64) (int, error) { return -1, errors.New("no files here") }

func (c *fakeCarrier) MapInflight(uint64, uint64) (*InflightMemory, error) {
	return nil, errors.New("no files here")
}

func (c *fakeCarrier) Doorbell(int) guest.Doorbell { return nil }

func (c *fakeCarrier) KickFD(ring int) int { return c.kicks[ring] }

// serve plays the forwarder until the test ends.
func serve(t *testing.T, g *guest.Port) {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			if g.Changed() {
				g.Sync()
			} else {
				time.Sleep(10 * time.Microsecond) // others want the processor too
			}
		}
	}()
	t.Cleanup(func() { over.Store(true); <-done })
}

// The forwarder learns of a new kick also for a ring that cannot start: the old one is
// closed once the message is handled, and its number may soon be another file's.
func TestKickOfARingThatCannotStart(t *testing.T) {
	carrier := &fakeCarrier{}
	port := guest.New("guest", func(string, error) {})
	s := New(carrier, vhostuser.BackendConfig{}, []*guest.Port{port}, zap.NewNop())
	serve(t, port)
	handle := func(m vhostuser.Message) {
		t.Helper()
		if _, err := s.Handle(m); err != nil {
			t.Fatal(err)
		}
	}
	handle(vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: 1 << 16, UVA: 1 << 20}}))
	handle(vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Num: 16}))
	carrier.kicks[0] = 1001
	handle(vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{}))
	if fds := port.WakeFDs(); !slices.Equal(fds, []int{1001}) {
		t.Fatalf("the forwarder waits for %v before the ring is ready, want 1001", fds)
	}
	handle(vhostuser.NewRequest(vhostuser.SetVringAddr, vhostuser.VringAddr{Desc: 1 << 30, Avail: 1 << 30, Used: 1 << 30})) // nowhere
	carrier.kicks[0] = 1002
	handle(vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{}))
	if fds := port.WakeFDs(); !slices.Equal(fds, []int{1002}) {
		t.Errorf("the forwarder waits for %v, want 1002", fds)
	}
}
