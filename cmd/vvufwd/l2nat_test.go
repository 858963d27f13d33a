package main

import (
	"os"
	"slices"
	"testing"
)

// A NIC whose frames leave with its own address becomes a kind of port that can do that.
func TestTranslatingNIC(t *testing.T) {
	o, err := parseFlags([]string{"--vhost-user=/a", "--nic=wlan0,l2nat", "--mac-age=20s"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	p := o.ports[1]
	if !p.l2nat || !p.onInterface() || !slices.Equal(p.ways(), []string{"packet"}) || o.ports[0].l2nat {
		t.Errorf("parsed %+v, ways %v", p, p.ways())
	}
	for _, port := range []string{"--nic=00:04.0,l2nat", "--vhost-user=/b,l2nat", "--port=macvtap:m0,l2nat"} {
		if _, err := parseFlags([]string{"--vhost-user=/a", port}, false, os.Stderr); err == nil {
			t.Errorf("%s is accepted", port)
		}
	}
}
