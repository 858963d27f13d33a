package socket

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// balancedRig is two endpoints with some pairs, assigned to loops.
func balancedRig(t *testing.T, loops, pairs int) (paths [2]string) {
	t.Helper()
	return balancedRigOf(t, loops, pairs, zap.NewNop(), func(_ []netfwd.Port, err error) { t.Errorf("fault: %v", err) })
}

// balancedRigOf is balancedRig with so many pairs, and whatever is to become of faults.
func balancedRigOf(t *testing.T, loops, pairs int, log *zap.Logger, onFault func([]netfwd.Port, error)) (paths [2]string) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var link netfwd.Link
	var ends []*Endpoint
	for i := range link {
		paths[i] = filepath.Join(dir, fmt.Sprint(i))
		e, err := listen(paths[i], pairs, log)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, e)
		for _, p := range e.Ports() {
			link[i].Queues = append(link[i].Queues, p)
		}
	}
	cfgs := make([]netfwd.Config, loops)
	for i := range cfgs {
		cfgs[i] = netfwd.Config{CPU: -1, IdleAfter: time.Millisecond, OnFault: onFault}
	}
	_, stop := netfwdtest.Run(t, []netfwd.Link{link}, cfgs)
	var sessions sync.WaitGroup
	for _, e := range ends {
		sessions.Go(func() { e.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		sessions.Wait()
		stop()
		for _, e := range ends {
			e.Close()
		}
	})
	return paths
}

// flow is a frame of one of 16 flows, with its number in the flow.
func flow(i int) (frame []byte, of, nth int) {
	of, nth = i%16, i/16
	frame = pattern(100, i)
	copy(frame[12:], []byte{0x08, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, byte(of), 1, 0, 0, 66, 0, 0})
	binary.LittleEndian.PutUint32(frame[42:], uint32(nth))
	return frame, of, nth
}

// A guest with one queue pair sends to one with several, among which its flows are
// spread. Each front-end disturbs its rings all the time. No frame is lost, none comes
// twice, and each flow keeps its order in each queue pair.
func TestNothingIsLostAmongQueuePairs(t *testing.T) {
	for _, features := range []virtio.Features{vvutest.AllFeatures, vvutest.AllFeatures | virtio.RingPacked} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d loops, packed %v", loops, features.Has(virtio.RingPacked)), func(t *testing.T) {
				t.Parallel()
				const pairs, n = 4, 8000
				// One more than are used: each costs a disturbance the time of a turn of a loop.
				paths := balancedRig(t, loops, pairs+1)
				a := bootApp(t, paths[0], vvutest.NewRAM(t), vvutest.AppConfig{Style: vhostuser.CloudHypervisor, Features: features, Entries: 128})
				b := bootApp(t, paths[1], vvutest.NewRAM(t), vvutest.AppConfig{Style: vhostuser.CloudHypervisor, Features: features, Entries: 64, RxBuffers: 16, Pairs: pairs})
				seen := map[[2]int]int{} // by flow and number
				var last [pairs][16]int
				sent, received, used := 0, 0, [pairs]bool{}
				disturbances := vvutest.Disturbances()
				for deadline, round := time.Now().Add(2*time.Minute), 0; received < n; round++ {
					if time.Now().After(deadline) {
						t.Fatalf("%d sent, %d received of %d", sent, received, n)
					}
					for sent < n && a.Room(0) {
						f, _, _ := flow(sent)
						if err := a.Send(f); err != nil {
							t.Fatal(err)
						}
						sent++
					}
					if round%4 == 0 {
						d := disturbances[round/4%len(disturbances)]
						if err := []*vvutest.App{a, b}[round/4/len(disturbances)%2].Disturb(d); err != nil {
							t.Fatalf("%s: %v", d.Name, err)
						}
					}
					for pair := range pairs {
						for range 10 {
							f, err := b.TryReceiveFrom(pair)
							if err != nil {
								t.Fatal(err)
							}
							if f == nil {
								break
							}
							of, nth := int(f[35]), int(binary.LittleEndian.Uint32(f[42:]))
							if seen[[2]int{of, nth}]++; seen[[2]int{of, nth}] > 1 {
								t.Fatalf("frame %d of flow %d came twice", nth, of)
							}
							if nth < last[pair][of] {
								t.Fatalf("pair %d: frame %d of flow %d is behind %d", pair, nth, of, last[pair][of])
							}
							last[pair][of], used[pair] = nth, true
							received++
						}
					}
				}
				if used != [pairs]bool{true, true, true, true} {
					t.Errorf("pairs that frames came through: %v", used)
				}
				if err := a.Sent(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
