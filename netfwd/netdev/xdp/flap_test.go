package xdp

import (
	"testing"
	"time"

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
			for drained := time.Now().Add(100 * time.Millisecond); time.Now().Before(drained); {
				p.Drain() // what comes late
			}
			for _, way := range [][2]int{{0, 1}, {1, 0}} {
				from, to := p.A, p.B
				if way[0] == 1 {
					from, to = p.B, p.A
				}
				for i := range 3 * txChunks / 8 {
					var some [][]byte
					for k := range 8 {
						some = append(some, frame(300, 8*i+k))
					}
					send(t, s, from, some...)
					for k, r := range netdevtest.Collect(t, to, 8) {
						if string(r.Bytes) != string(some[k]) {
							t.Fatalf("round %d: frame %d is another one", i, k)
						}
					}
				}
			}
		})
	}
}
