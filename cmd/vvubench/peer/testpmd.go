package peer

import (
	"context"
	"fmt"

	"vvufwd/cmd/vvubench/testpmd"
)

// Testpmd is DPDK's testpmd in its simplest mode, "io".
type Testpmd struct {
	program *testpmd.Program
	version string
}

// NewTestpmd makes a peer of a program.
func NewTestpmd(program *testpmd.Program) *Testpmd { return &Testpmd{program: program} }

// Name implements Peer.
func (t *Testpmd) Name() string { return "testpmd" }

// Version implements Peer.
func (t *Testpmd) Version() string { return t.version }

// interfaceDrivers are DPDK's for the kinds of interfaces that vvufwd has.
var interfaceDrivers = map[string]string{"packet": "net_af_packet", "xdp": "net_af_xdp", "tap": "net_tap"}

// Start implements Peer.
func (t *Testpmd) Start(ctx context.Context, job Job) (Forwarder, error) {
	cfg := testpmd.Config{Name: "testpmd", Mode: "io", CPU: job.CPU, ControlCPU: job.ControlCPU, LogPath: job.LogPath}
	for i, socket := range job.sockets() {
		cfg.Ports = append(cfg.Ports, testpmd.Vhost{Socket: socket})
		if job.Through != "" {
			driver, ok := interfaceDrivers[job.Through]
			if !ok {
				return nil, fmt.Errorf("testpmd has no driver that is known here for %s", job.Through)
			}
			cfg.Ports = append(cfg.Ports, testpmd.Interface{Driver: driver, Name: job.Interfaces[i]})
		}
	}
	p, err := testpmd.Start(ctx, t.program, cfg)
	if err != nil {
		return nil, err
	}
	t.version = p.Version()
	return testpmdForwarder{p}, nil
}

type testpmdForwarder struct{ *testpmd.Process }

// Stop implements Forwarder.
func (f testpmdForwarder) Stop(ctx context.Context) (Work, error) {
	totals, err := f.Process.Stop(ctx)
	if err != nil {
		return Work{}, err
	}
	return Work{
		Packets: totals.All.RxPackets,
		Dropped: totals.All.TxDropped,
		BusyNS:  totals.Cycles.NanosecondsPerPacket() * float64(totals.Cycles.Packets),
	}, nil
}
