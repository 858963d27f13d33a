package main

import (
	"context"
	"errors"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"vvufwd/cmd/internal/confine"
)

func TestPolicy(t *testing.T) {
	limits := []string{"/proc/sys/vm/max_map_count"}
	for _, test := range []struct {
		args []string
		want confine.Policy
	}{
		{[]string{"--vhost-user=/a", "--vhost-user=/b,client"}, confine.Policy{Read: limits, Listen: []string{"/a"}, Connect: []string{"/b"}, AsyncIO: true}},
		{[]string{"--vvu=00:05.0", "--nic=00:04.0"}, confine.Policy{Read: limits, VFIO: true}},
		{[]string{"--vhost-user=/a,client", "--vhost-user=/b,client", "--control=/c"}, confine.Policy{Read: limits, Listen: []string{"/c"}, Connect: []string{"/a", "/b"}, AsyncIO: true}},
		{[]string{"--vvu=00:05.0", "--nic=00:04.0", "--control=virtio-serial:ctl"}, confine.Policy{Read: limits, VFIO: true}},
		{[]string{"--vvu=00:05.0", "--nic=00:04.0", "--control=vsock:5"}, confine.Policy{Read: limits, VFIO: true, Accept: true}},
		{[]string{"--vvu=00:05.0", "--nic=00:04.0", "--metrics=:9100"}, confine.Policy{Read: limits, VFIO: true, Accept: true}},
		{[]string{"--vvu=00:05.0", "--nic=00:04.0", "--capture=nic:0000:00:04.0=vsock:5", "--capture=vvu:0000:00:05.0=unix:/s"}, confine.Policy{Read: limits, VFIO: true, Accept: true, Listen: []string{"/s"}}},
		{[]string{"--bind", "--vvu=00:05.0", "--vhost-user=/a"}, confine.Policy{Read: limits, VFIO: true, AsyncIO: true, Listen: []string{"/a"}}},
	} {
		o, err := parseFlags(test.args, false, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.policy(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: %+v, want %+v", test.args, got, test.want)
		}
	}
}

// TestConfinedControls starts the controls of several ports at once: none serves
// before the process is confined, and that happens once.
func TestConfinedControls(t *testing.T) {
	for name, failure := range map[string]error{"works": nil, "fails": errors.New("on purpose")} {
		var applied, served, failures atomic.Int32
		c := &confinement{apply: func() error { applied.Add(1); return failure }}
		ctx := context.WithValue(t.Context(), confinementKey{}, c)
		var ports sync.WaitGroup
		for range 8 {
			ports.Go(func() {
				err := confined(func(context.Context) error {
					if applied.Load() != 1 {
						t.Errorf("%s: a port is served first", name)
					}
					served.Add(1)
					return nil
				})(ctx)
				if err != nil {
					failures.Add(1)
				}
			})
		}
		ports.Wait()
		wantServed, wantFailures := int32(8), int32(0)
		if failure != nil {
			wantServed, wantFailures = 0, 1 // one error, not one for each port
		}
		if applied.Load() != 1 || served.Load() != wantServed || failures.Load() != wantFailures {
			t.Errorf("%s: confined %d times, %d ports served, %d errors", name, applied.Load(), served.Load(), failures.Load())
		}
	}
	served := false
	err := confined(func(context.Context) error { served = true; return nil })(t.Context())
	if err != nil || !served {
		t.Errorf("without confinement: served %v, %v", served, err)
	}
}
