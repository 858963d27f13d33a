package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
)

// TestGone lets devices go away one after the other. Ports end in pairs, or one by one in a
// switch, and the program when nothing is left to forward; as /init it ends at once.
func TestGone(t *testing.T) {
	for _, test := range []struct {
		name string
		o    options
		goes []int // ports, in this order
		left []int // of these the control runs after all that, if the program goes on
		ends bool
	}{
		{"one of two pairs", options{}, []int{1}, []int{2, 3}, false},
		{"both devices of a pair", options{}, []int{1, 0}, []int{2, 3}, false},
		{"both pairs", options{}, []int{1, 2}, nil, true},
		{"one port of a switch", options{switched: true}, []int{0}, []int{1, 2, 3}, false},
		{"two ports of a switch", options{switched: true}, []int{0, 3}, []int{1, 2}, false},
		{"three ports of a switch", options{switched: true}, []int{0, 3, 1}, nil, true},
		{"as /init", options{owned: true}, []int{0}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			running := map[int]bool{}
			runs := func() (list []int) {
				mu.Lock()
				defer mu.Unlock()
				for i := range 4 {
					if running[i] {
						list = append(list, i)
					}
				}
				return list
			}
			f := &forwarder{log: zap.NewNop()}
			var leave [4]chan struct{}
			for i := range leave {
				leave[i] = make(chan struct{})
				control := func(ctx context.Context) error {
					mu.Lock()
					running[i] = true
					mu.Unlock()
					defer func() {
						mu.Lock()
						defer mu.Unlock()
						running[i] = false
					}()
					select {
					case <-leave[i]:
						return fmt.Errorf("port %d: %w", i, &goneError{"0000:00:05.0", test.o.owned})
					case <-ctx.Done():
						return nil
					}
				}
				f.ports = append(f.ports, &port{control: control})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failures := make(chan error, 16)
			var controls sync.WaitGroup
			f.runControls(ctx, &test.o, &controls, func(err error) {
				if err != nil {
					failures <- err
					cancel()
				}
			})
			until(t, "the start", func() bool { return len(runs()) == 4 })
			for _, i := range test.goes {
				close(leave[i])
				until(t, "the end of a port", func() bool { return !contains(runs(), i) })
			}
			if !test.ends {
				until(t, "the end of what belongs together", func() bool { return fmt.Sprint(runs()) == fmt.Sprint(test.left) })
				cancel()
			}
			controls.Wait()
			close(failures)
			var err error
			for failure := range failures {
				err = errors.Join(err, failure)
			}
			if !test.ends && err != nil || test.ends && err == nil {
				t.Errorf("it failed with %v", err)
			}
			if test.ends {
				var said strings.Builder
				if code := fail(&said, err); code != cli.Gone || strings.Count(said.String(), "\n") != 1 {
					t.Errorf("exit code %d and %q, want %d and a line", code, said.String(), cli.Gone)
				}
			}
		})
	}
}

func contains(list []int, n int) bool {
	for _, i := range list {
		if i == n {
			return true
		}
	}
	return false
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}
