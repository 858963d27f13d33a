package xdp

import (
	"testing"
	"time"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

// The link comes and goes while frames pass, at either end: no chunk of a umem is lost with it.
func TestLinkFlapsUnderLoad(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(string(mode), func(t *testing.T) {
			netdevtest.Namespace(t)
			p := pair(t, mode, 1)
			p.Run(t)
			s := netdevtest.NewSource(t)
			load := func() {
				for i := range 64 {
					for range 2 {
						send(t, s, p.A, frame(1000, i), frame(60, i), frame(9000, i), frame(1500, i))
						send(t, s, p.B, frame(1000, i), frame(60, i), frame(9000, i), frame(1500, i))
					}
					if i%8 == 0 {
						p.Drain()
					}
				}
			}
			for i := range 20 {
				name := []string{"v0", "v1"}[i%2]
				load()
				netdevtest.IP(t, "link set "+name+" down")
				load()
				netdevtest.IP(t, "link set "+name+" up")
			}
			p.Passes(t, time.Minute)
			(&netdevtest.Pair{A: p.B, B: p.A}).Passes(t, time.Minute)
			for _, d := range []*netdev.Device{p.A, p.B} {
				q := d.Ports()[0].(*Queue)
				for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					p.Drain()
					q.Notify()
					if q.reclaim(); q.count == txChunks && q.fill.pending() == rxChunks {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("%s: of %d chunks each way %d are free to send from, and %d the kernel's to receive into", q.Name(), txChunks, q.count, q.fill.pending())
					}
				}
			}
		})
	}
}
