package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Interfaces are found in all the ways that vvufwd takes them.
func TestInterfaces(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"--nic eth0 --nic=0000:00:04.0", []string{"nic"}},
		{"--port nic:eth0", []string{"nic"}},
		{"--port=nic:eth0,mtu=9000", []string{"nic"}},
		{"--port nic:0000:00:04.0 --port nic:00:06.0", nil},
		{"--switch --nic eth0,mac=52:54:00:00:00:01", []string{"nic"}},
		{"--nic 0000:00:04.0,mac=52:54:00:00:00:01", nil},
		{"-port xdp:eth1,mode=copy --port packet:eth2 --port tap:t0 --port macvtap:eth3", []string{"xdp", "packet", "tap", "macvtap"}},
		{"--vvu 0000:00:05.0 --vhost-user /nic --port vhost-user:/app.sock --port igb:0000:00:04.0", nil},
		{"--nic", nil},
	} {
		if diff := cmp.Diff(tt.want, words(strings.Fields(tt.args)).interfaces()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.args, diff)
		}
	}
}
