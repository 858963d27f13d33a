package e2e

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/capture"
	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/show"
)

// allNICs is for "make matrix".
var allNICs = flag.Bool("all-nics", false, "try all kinds of NICs behind all kinds of IOMMUs with one queue and many, with and without offloads, not each pair of choices once")

// manyQueues is how many queue pairs of a NIC are many: what the smallest has.
const manyQueues = 2

// setup is how an app VM's device is set up for some hardware.
func setup(h matrix.Hardware) show.AppSetup {
	s := show.AppSetup{Alone: !h.Offloads}
	if h.Many {
		s.Queues = manyQueues
	}
	return s
}

// shows is a demo with some hardware. The driver VM's NIC and IOMMU are those of the first.
func shows(list ...matrix.Hardware) show.Config {
	cfg := show.Config{NIC: list[0].NIC, IOMMU: list[0].IOMMU, App: setup(list[0])}
	for _, h := range list[1:] {
		cfg.Again = append(cfg.Again, setup(h))
	}
	return cfg
}

// TestIntelNICs boots both machines with each of Intel's NICs that vvufwd drives. Large segments of TCP leave the app VM uncut, and
// the NIC cuts them: there are more frames on the wire than vvufwd has sent. Checksums are left to the NIC in both directions. An app
// VM that does it all itself leaves nothing to the NIC. Several queue pairs carry several flows.
func TestIntelNICs(t *testing.T) {
	t.Parallel()
	list := matrix.HardwarePairs(matrix.IntelNICs)
	if *allNICs {
		list = matrix.AllHardware()
	}
	for len(list) > 0 {
		n := 1 // with the same driver VM
		for n < len(list) && list[n].NIC == list[0].NIC && list[n].IOMMU == list[0].IOMMU {
			n++
		}
		these := list[:n]
		list = list[n:]
		t.Run(these[0].String(), func(t *testing.T) {
			t.Parallel()
			cfg := shows(these...)
			if !*allNICs {
				cfg.Transfer = 4 << 20
			}
			checkIntelNIC(t, cfg, run(t, cfg))
		})
	}
}

func checkIntelNIC(t *testing.T, cfg show.Config, r *show.Report) {
	wanted := []string{"lease", "ping", "download", "upload", "counters", "power off", "capture"}
	if cfg.App.Queues > 1 {
		wanted = append(wanted, "flows")
	}
	if cfg.Again != nil {
		wanted = append(wanted, "again")
	}
	for _, name := range wanted {
		if step := r.Step(name); step == nil || !step.OK {
			t.Errorf("step %q: %+v", name, step)
		}
	}
	vvu, nic, err := r.Sides()
	if err != nil {
		t.Fatal(err)
	}
	checkLeftToNIC(t, cfg.App, vvu, nic)
	wire := uint64(r.Capture.Kind(capture.TCP).FromApp.Frames)
	if len(r.Again) != len(cfg.Again) {
		t.Fatalf("%d of %d other app VMs", len(r.Again), len(cfg.Again))
	}
	others := uint64(0) // frames that no one cut
	for _, a := range r.Again {
		checkLeftToNIC(t, a.AppSetup, a.VVU, a.NIC)
		if a.Alone {
			others += a.NIC.TxPackets
		}
	}
	if !cfg.App.Alone && 4*wire < 4*others+5*nic.TxPackets { // there are acknowledgements, too, and slow senders' segments are of two frames
		t.Errorf("%d frames of TCP are on the wire, of %d that were sent: the NIC has not cut", wire, nic.TxPackets+others)
	}
	if n := nic.SegmentedByNIC(); !cfg.App.Alone && cfg.NIC != machine.IGBVF && (n == 0 || n > nic.Offloads.Passed) {
		t.Errorf("the NIC counted %d large segments, of %d frames with offloads", n, nic.Offloads.Passed)
	}
	var queues []string
	for _, p := range r.Ports {
		queues = append(queues, fmt.Sprintf("%s %d/%d", p.Name, p.RxPackets, p.TxPackets))
	}
	t.Logf("frames received and sent: %s", strings.Join(queues, ", "))
}

// longest is how many bytes a frame has at most that is no large segment.
const longest = 1514

// checkLeftToNIC wants nothing to have been done by vvufwd or lost, and large segments to have gone to the NIC unless the app VM cuts.
func checkLeftToNIC(t *testing.T, app show.AppSetup, vvu, nic counters.Port) {
	for _, p := range []counters.Port{vvu, nic} {
		if o := p.Offloads; o.Checksummed+o.Segmented+o.Pieces != 0 || p.Dropped() != 0 {
			t.Errorf("%+v: %s: dropped %d, offloads done by vvufwd: %v", app, p.Name, p.Dropped(), o)
		}
		t.Logf("%+v: %s: %.2f %% of %d received frames were plain", app, p.Name, p.PlainPercent(), p.RxPackets)
	}
	// Large segments for one of these chips are not, as they fill several of its buffers.
	if large := nic.Offloads.Passed; 100*(vvu.Plain+large) < mostlyPlain*vvu.RxPackets || nic.PlainPercent() < mostlyPlain {
		t.Errorf("%+v: only %d of %d frames from the app VM were plain, %d to it of %d; %d had offloads", app, vvu.Plain, vvu.RxPackets,
			nic.Plain, nic.RxPackets, large)
	}
	switch {
	case app.Alone && (nic.Offloads.Passed != 0 || nic.TxBytes > longest*nic.TxPackets):
		t.Errorf("%+v: %d bytes went to the NIC in %d frames, %d with offloads", app, nic.TxBytes, nic.TxPackets, nic.Offloads.Passed)
	case !app.Alone && (nic.Offloads.Passed == 0 || nic.TxBytes <= longest*nic.TxPackets):
		t.Errorf("%+v: %d bytes went to the NIC in %d frames, %d with offloads: no large segments", app, nic.TxBytes, nic.TxPackets, nic.Offloads.Passed)
	}
}
