package testpmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    Config
		memory memory
		want   string
	}{
		"back-end": {
			Config{Ports: []Port{Vhost{Socket: "/a"}, Vhost{Socket: "/b", Client: true}}, Mode: "io", CPU: 0, ControlCPU: 1}, hugePages,
			"-l 1,0 --main-lcore 1 --no-pci --no-telemetry -v --log-level lib.vhost.config:error --in-memory" +
				" --vdev net_vhost0,iface=/a,queues=1 --vdev net_vhost1,iface=/b,queues=1,client=1" +
				" -- --forward-mode=io --auto-start --record-core-cycles --nb-cores=1 --total-num-mbufs=32768 --stats-period 20",
		},
		"interfaces": {
			Config{Ports: []Port{Vhost{Socket: "/a"}, Interface{Driver: "net_tap", Name: "t0"}}, Mode: "io", CPU: 0, ControlCPU: 1}, hugePages,
			"-l 1,0 --main-lcore 1 --no-pci --no-telemetry -v --log-level lib.vhost.config:error --in-memory" +
				" --vdev net_vhost0,iface=/a,queues=1 --vdev net_tap1,iface=t0" +
				" -- --forward-mode=io --auto-start --record-core-cycles --nb-cores=1 --total-num-mbufs=32768 --stats-period 20",
		},
		"front-end": {
			Config{
				Ports: []Port{VirtioUser{Socket: "/a"}, VirtioUser{Socket: "/b", Server: true, QueueSize: 1024, Options: []string{"mrg_rxbuf=0"}}},
				Mode:  "flowgen", CPU: 1, ControlCPU: 0, FrameSize: 1518, RatesEvery: 2 * time.Second, Args: []string{"--burst=64"},
			}, smallPages,
			"-l 0,1 --main-lcore 0 --no-pci --no-telemetry -v --log-level lib.vhost.config:error --no-huge --no-shconf -m 512 --single-file-segments" +
				" --vdev net_virtio_user0,path=/a,queues=1,queue_size=256 --vdev net_virtio_user1,path=/b,queues=1,queue_size=1024,server=1,mrg_rxbuf=0" +
				" -- --forward-mode=flowgen --auto-start --record-core-cycles --nb-cores=1 --total-num-mbufs=32768 --stats-period 2 --txpkts=1522 --burst=64",
		},
		"with commands": {
			Config{Ports: []Port{VirtioUser{Socket: "/a", Server: true}}, Mode: "io", CPU: 0, ControlCPU: 1, Commands: true}, hugePages,
			"-l 1,0 --main-lcore 1 --no-pci --no-telemetry -v --log-level lib.vhost.config:error --in-memory --single-file-segments" +
				" --vdev net_virtio_user0,path=/a,queues=1,queue_size=256,server=1" +
				" -- --forward-mode=io --auto-start --record-core-cycles --nb-cores=1 --total-num-mbufs=32768 --interactive",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.cfg.check(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(tc.want), tc.cfg.arguments(tc.memory)); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	ports := []Port{Vhost{Socket: "/a"}}
	for want, cfg := range map[string]Config{
		"no rates while it takes commands": {Ports: ports, ControlCPU: 1, RatesEvery: time.Second, Commands: true},
		"at least one port":                {ControlCPU: 1},
		"needs two CPUs":                   {Ports: ports},
		"on CPU -1":                        {Ports: ports, CPU: -1},
		"every whole second":               {Ports: ports, ControlCPU: 1, RatesEvery: time.Millisecond},
		"socket path without = or comma":   {Ports: []Port{Vhost{Socket: "/a=b"}}, ControlCPU: 1},
	} {
		if err := cfg.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestAvailableMemory(t *testing.T) {
	for text, want := range map[string]memory{"64\n": hugePages, "512\n": hugePages, "63\n": smallPages, "": smallPages, "x": smallPages} {
		root := t.TempDir()
		dir := filepath.Join(root, "kernel/mm/hugepages/hugepages-2048kB")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "free_hugepages"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := availableMemory(root); got != want {
			t.Errorf("%q free: %v, want %v", text, got, want)
		}
	}
	if availableMemory(t.TempDir()) != smallPages {
		t.Error("a kernel without huge pages has some")
	}
}
