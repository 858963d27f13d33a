package netdev_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// nameless is an interface that is being renamed, and one that is gone.
type nameless struct {
	mu      sync.Mutex
	err     error
	looks   chan error
	prompts chan struct{}
}

func (n *nameless) Events() (*os.File, error) { return nil, nil }
func (n *nameless) Prompts() <-chan struct{}  { return n.prompts }

func (n *nameless) set(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

// prompt lets it be looked at.
func (n *nameless) prompt() {
	select {
	case n.prompts <- struct{}{}:
	default:
	}
}

func (n *nameless) Look() (netdev.State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.looks <- n.err:
	default:
	}
	return netdev.State{Name: "v0", Up: true, Runs: true, MTU: 1500}, n.err
}

func (n *nameless) Queues(string, *netdev.Condition) ([]netdev.Queue, error) { return nil, nil }
func (n *nameless) Return() error                                            { return unix.ENODEV }
func (n *nameless) Dropped() (uint64, bool)                                  { return 0, false }
func (n *nameless) Close() error                                             { return nil }

// An interface without a name stays as it was: its link does not go, and that it has a name again is no return.
func TestRenamingIsNoLoss(t *testing.T) {
	n := &nameless{looks: make(chan error), prompts: make(chan struct{}, 1)}
	d, err := netdev.NewDevice("v0", n, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	links := make(chan bool, 16)
	d.Follow(func() {}, func(up bool) { links <- up })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	looked := func(want error) {
		t.Helper()
		n.set(want)
		for seen, end := 0, time.After(time.Minute); seen < 2; { // with the second one the first has had its effect
			n.prompt()
			select {
			case err := <-n.looks:
				if err == want {
					seen++
				}
			case <-end:
				t.Fatal("no one looks")
			}
		}
	}
	looked(netdev.ErrRenaming)
	looked(nil)
	if s := d.Stats(); !s.Link || s.Returns != 0 || len(links) != 0 {
		t.Errorf("renamed: %+v, %d changes of the link", s, len(links))
	}
	looked(unix.ENODEV)
	if up := <-links; up {
		t.Error("gone, but told that it is up")
	}
	n.set(nil)
	n.prompt()
	if up := <-links; !up {
		t.Error("back, but told that it is down")
	}
	cancel()
	running.Wait()
	if s := d.Stats(); !s.Link || s.Returns != 1 {
		t.Errorf("gone and back: %+v", s)
	}
}
