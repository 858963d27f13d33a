package namespace

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// TestNetworkOfItsOwn wants nothing but a loopback device inside.
func TestNetworkOfItsOwn(t *testing.T) {
	if Inside() {
		if err := Settle(); err != nil {
			t.Fatal(err)
		}
		lo, err := net.InterfaceByName("lo")
		if err != nil || lo.Flags&net.FlagUp == 0 {
			t.Errorf("loopback device: %+v, %v", lo, err)
		}
		all, err := net.Interfaces()
		if err != nil || len(all) != 1 {
			t.Errorf("network devices: %+v, %v", all, err)
		}
		return
	}
	cmd, err := Command(t.Context(), "-test.run=^"+t.Name()+"$", "-test.v")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := Run(cmd); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("inside: %v\n%s", err, out.String())
	}
}
