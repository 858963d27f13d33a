package xdp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
						var stats unix.XDPStatistics
						_, err := getOption(q.fd, unix.XDP_STATISTICS, &stats)
						t.Fatalf("%s: of %d chunks %d are free to send from, %d wait to be sent (%v), and %d of %d are the kernel's to receive into; the kernel counts %+v, %v",
							q.Name(), txChunks, q.count, q.tx.pending(), q.unsent, q.fill.pending(), rxChunks, stats, err)
					}
				}
			}
		})
	}
}
