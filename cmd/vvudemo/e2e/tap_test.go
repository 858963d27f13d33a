package e2e

import (
	"testing"

	"vvufwd/cmd/internal/lab/namespace"
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
	report := run(t, show.Config{TAP: "vvue2e0"})
	vvu, nic := report.Ports[0], report.Ports[1]
	for name, o := range map[string]struct {
		passed, done, packets, bytes uint64
	}{
		"from the app VM": {nic.Offloads.Passed, nic.Offloads.Checksummed + nic.Offloads.Segmented, nic.TxPackets, nic.TxBytes},
		"to the app VM":   {vvu.Offloads.Passed, vvu.Offloads.Checksummed + vvu.Offloads.Segmented, vvu.TxPackets, vvu.TxBytes},
	} {
		if o.passed == 0 || o.done != 0 {
			t.Errorf("%s %d frames with offloads passed, %d were finished on the way", name, o.passed, o.done)
		}
		const longest = 1514
		if o.bytes < 2*longest*o.packets {
			t.Errorf("%s came %d bytes in %d frames: no large segments", name, o.bytes, o.packets)
		}
	}
	// Some frames find a ring that has no buffers yet, or are ours. The rest is plain, whatever pieces it comes in.
	for _, p := range report.Ports {
		t.Logf("%s: %d of %d received frames were plain", p.Name, p.Plain, p.RxPackets)
		if 100*p.Plain < 95*p.RxPackets {
			t.Errorf("%s: only %d of %d received frames were plain", p.Name, p.Plain, p.RxPackets)
		}
	}
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
	cmd, err := namespace.Command(t.Context(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=14m")
	if err != nil {
		t.Skip(err)
	}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := namespace.Run(cmd); err != nil {
		t.Fatalf("inside: %v", err)
	}
	return false
}
