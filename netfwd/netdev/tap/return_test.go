package tap

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

// A device that is replaced by something that cannot be used: the log says so once, and when there is one again it
// is used.
func TestReturnsAsSomethingElse(t *testing.T) {
	netdevtest.Namespace(t)
	files, err := Open("t0", 1)
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	d, err := netdev.NewDevice("tap:t0", i, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	defer func() {
		cancel()
		running.Wait()
		d.Close()
	}()
	says := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); logs.FilterMessageSnippet(what).Len() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log does not say %q: %v", what, logs.All())
			}
		}
	}
	netdevtest.IP(t, "link del t0")
	says("is gone")
	netdevtest.IP(t, "link add t0 type veth peer name t1")
	says("the port cannot use it")
	netdevtest.IP(t, "link set t0 up") // news, which is looked at
	netdevtest.IP(t, "link del t0")
	netdevtest.IP(t, "tuntap add t0 mode tap vnet_hdr")
	netdevtest.IP(t, "link set t0 up")
	says("is back")
	// Before the last, there may be word of a device that "ip" still holds open while it makes it.
	wrong, said := 0, logs.FilterMessageSnippet("cannot use it").All()
	for _, entry := range said {
		switch text := entry.ContextMap()["error"].(string); {
		case strings.Contains(text, "t0 is no TAP device"):
			wrong++
		case !strings.Contains(text, "another program has it"):
			t.Errorf("said %q", text)
		}
	}
	if wrong != 1 {
		t.Errorf("%d times the log says that this is no TAP device: %v", wrong, said)
	}
}
