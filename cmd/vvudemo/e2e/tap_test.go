package e2e

import (
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/namespace"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/cmd/vvudemo/rates"
	"vvufwd/cmd/vvudemo/show"
)

// TestLargeSegmentsPass boots both machines with a TAP device behind the NIC, which takes and gives what a NIC with offloads does:
// large segments pass as they are, both ways, and nothing is left for vvufwd to do. It needs a TAP device, so it calls itself in
// namespaces of its own, where it may make one whoever runs it.
func TestLargeSegmentsPass(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	report := run(t, show.Config{TAP: "vvue2e0", Capture: true, Bench: &show.Bench{Sizes: []pktgen.Sizes{pktgen.IMIX}, Time: 300 * time.Millisecond}})
	if c := report.DriverCapture; c == nil || c.In == 0 || c.Out == 0 {
		t.Errorf("vvufwd captured %+v", c)
	}
	if report.Step("driver VM, asked") == nil {
		t.Error("vvufwd was not asked, and what passes the NIC not read live")
	}
	small := checkRates(t, report.Rates)
	vvu, nic := report.Ports[0], report.Ports[1]
	for name, o := range map[string]struct {
		passed, done, packets, bytes uint64
		small                        frames
	}{
		"from the app VM": {nic.Offloads.Passed, nic.Offloads.Checksummed + nic.Offloads.Segmented, nic.TxPackets, nic.TxBytes, small["out"]},
		"to the app VM":   {vvu.Offloads.Passed, vvu.Offloads.Checksummed + vvu.Offloads.Segmented, vvu.TxPackets, vvu.TxBytes, small["in"]},
	} {
		if o.passed == 0 || o.done != 0 {
			t.Errorf("%s %d frames with offloads passed, %d were finished on the way", name, o.passed, o.done)
		}
		// A slow sender's segments may be no longer than two frames.
		if bytes, packets := o.bytes-o.small.bytes, o.packets-o.small.packets; 2*bytes < 3*longest*packets {
			t.Errorf("%s came %d bytes in %d frames: no large segments", name, bytes, packets)
		}
	}
	// Some frames find a ring that has no buffers yet, or are ours. The rest is plain, whatever pieces it comes in.
	for _, p := range report.Ports {
		t.Logf("%s: %d of %d received frames were plain", p.Name, p.Plain, p.RxPackets)
		if 100*p.Plain < mostlyPlain*p.RxPackets {
			t.Errorf("%s: only %d of %d received frames were plain", p.Name, p.Plain, p.RxPackets)
		}
	}
}

type frames struct{ packets, bytes uint64 }

// checkRates wants every frame of the packet generators to have arrived, in order, and every place on the way to have counted it. It
// returns how many there were out and in, and about how many bytes.
func checkRates(t *testing.T, r *rates.Report) map[string]frames {
	t.Helper()
	sum := map[string]frames{}
	if want := len(rates.Loads); len(r.Rows) != want {
		t.Fatalf("%d rows, want %d", len(r.Rows), want)
	}
	for _, row := range r.Rows {
		for name, w := range map[string]*rates.Way{"out": row.Out, "in": row.In} {
			if idle := name == "out" && row.Load == rates.In || name == "in" && row.Load == rates.Out; w == nil || idle {
				if w != nil || !idle {
					t.Errorf("%s %s: %s: %+v", row.Sizes, row.Load, name, w)
				}
				continue
			}
			if w.Offered == 0 || w.Arrived != w.Offered || w.Lost+w.Reordered+w.Duplicated != 0 || len(w.Stages) < 5 {
				t.Errorf("%s %s: %s: %+v", row.Sizes, row.Load, name, *w)
			}
			sum[name] = frames{sum[name].packets + w.Offered, sum[name].bytes + uint64(float64(w.Offered)*row.Bytes)}
			for _, s := range w.Stages[:len(w.Stages)-1] { // the last receiver may be too slow
				if s.Frames < w.Offered {
					t.Errorf("%s %s: %s: %q counted %d of %d frames: %v", row.Sizes, row.Load, name, s.Name, s.Frames, w.Offered, s.Drops)
				}
			}
		}
	}
	return sum
}

// inside runs this test again in a network namespace and returns false, or true if it runs there already.
func inside(t *testing.T) bool {
	t.Helper()
	if namespace.Inside() {
		if err := namespace.Settle(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	findTools(t) // nothing can be fetched from inside
	cmd, err := namespace.Command(t.Context(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+(testLimit+time.Minute).String())
	if err != nil {
		t.Skip(err)
	}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := namespace.Run(cmd); err != nil {
		t.Fatalf("inside: %v", err)
	}
	return false
}
