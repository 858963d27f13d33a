package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vvufwd/cmd/internal/dist/units"
)

// system is what the stub of NixOS makes of a configuration.
type system struct {
	Refused       []string // messages of assertions
	KernelModules []string
	Services      map[string]struct {
		ServiceConfig map[string]any
	}
}

// configure evaluates nix/module.nix with a configuration: Nix's text of what services.vvufwd is set to.
func (n *nix) configure(t *testing.T, configuration string) (s system, err error) {
	t.Helper()
	err = n.evaluate(t, &s, `import ./nix/stub/nixos.nix { inherit pkgs; configuration = `+configuration+`; }`)
	return s, err
}

// command takes the words of a unit's ExecStart apart, as systemd does.
func command(t *testing.T, unit map[string]any) (words []string) {
	t.Helper()
	text, _ := unit["ExecStart"].(string)
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var word string
		if err := d.Decode(&word); err == io.EOF {
			return words
		} else if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		words = append(words, strings.NewReplacer("%%", "%", "$$", "$").Replace(word))
	}
}

// TestModule evaluates nix/module.nix: what it refuses and in which words, and what units it makes.
func TestModule(t *testing.T) {
	n := open(t)
	const pair = `ports = [ { kind = "vhost-user"; address = "/run/vvufwd/a.sock"; } { kind = "packet"; address = "eth1"; } ];`
	for _, tt := range []struct{ name, configuration, want string }{
		{"no ports", `{ enable = true; }`, "0 ports cannot be paired: give an even number, or set switch"},
		{"three ports", `{ enable = true; ` + strings.Replace(pair, "];", `{ kind = "nic"; address = "eth2"; } ];`, 1) + ` }`, "3 ports cannot be paired"},
		{"a switch of one", `{ enable = true; switch = true; ports = [ { kind = "nic"; address = "eth2"; } ]; }`, "a switch joins 2 to 64 ports, not 1"},
		{"isolate without switch", `{ enable = true; isolate = true; ` + pair + ` }`, "services.vvufwd.isolate is for a switch"},
		{"all isolated", `{ enable = true; switch = true; isolate = true; ports = [ { kind = "vhost-user"; address = "/a"; } { kind = "vhost-user"; address = "/b"; } ]; }`, "all are isolated: add a NIC"},
		{"no link", `{ enable = true; followLink = true; ports = [ { kind = "vhost-user"; address = "/a"; } { kind = "vhost-user"; address = "/b"; } ]; }`, "no port has a link to follow"},
		{"no guest to follow", `{ enable = true; followLink = true; ports = [ { kind = "nic"; address = "eth2"; } { kind = "nic"; address = "eth3"; } ]; }`, "no guest is joined to a port that has a link"},
		{"nothing bare", `{ enable = true; noIOMMU = true; ports = [ { kind = "nic"; address = "eth2"; } { kind = "vhost-user"; address = "/b"; } ]; }`, "no port is a PCI function that an IOMMU could confine"},
		{"no rings", `{ enable = true; queueSize = 512; ports = [ { kind = "nic"; address = "eth2"; } { kind = "vvu"; address = "0000:00:05.0"; } ]; }`, "no port is a NIC that vvufwd drives"},
		{"twice the same", `{ enable = true; ports = [ { kind = "nic"; address = "eth2"; } { kind = "nic"; address = "eth2"; } ]; }`, "one port is named twice"},
		{"twice a CPU", `{ enable = true; cpus = [ 1 1 ]; ` + pair + ` }`, "one CPU is named twice"},
		{"nothing to bind", `{ enable = true; bind = true; ` + pair + ` }`, "no port is a PCI function"},
		{"an address in a pair", `{ enable = true; ` + strings.Replace(pair, `"eth1";`, `"eth1"; mac = "52:54:00:00:00:01";`, 1) + ` }`, "port packet:eth1: mac and isolate are for a switch"},
		{"a client without a socket", `{ enable = true; ` + strings.Replace(pair, `"eth1";`, `"eth1"; client = true;`, 1) + ` }`, "client is for sockets"},
		{"a relative socket", `{ enable = true; ` + strings.Replace(pair, `"/run/vvufwd/a.sock"`, `"a.sock"`, 1) + ` }`, "a socket's path begins with /"},
		{"no PCI address", `{ enable = true; ` + strings.Replace(pair, `"packet"; address = "eth1"`, `"vvu"; address = "5:0"`, 1) + ` }`, "port vvu:5:0: a PCI address looks like 0000:01:00.0"},
		{"l2nat elsewhere", `{ enable = true; ` + strings.Replace(pair, `"packet"; address = "eth1"`, `"tap"; address = "t0"; l2nat = true`, 1) + ` }`, "l2nat is for an interface"},
		{"a mode elsewhere", `{ enable = true; ` + strings.Replace(pair, `"eth1";`, `"eth1"; mode = "copy";`, 1) + ` }`, "mode is for the kinds xdp and macvtap"},
		{"a device with neither", `{ devices.a = { vfioUser = "/run/v"; vhostUser = "/run/a"; }; }`, "services.vvufwd.devices.a: give either ram"},
		{"a device with both", `{ devices.a = { vfioUser = "/run/v"; vhostUser = "/run/a"; ram = "/dev/shm/a"; shadow = "64M"; }; }`, "give either ram"},
		{"a size of nothing", `{ devices.a = { vfioUser = "/run/v"; vhostUser = "/run/a"; shadow = "64M"; ramSize = "1G"; }; }`, "ramSize is the size of ram"},
		{"CPUs of nothing", `{ devices.a = { vfioUser = "/run/v"; vhostUser = "/run/a"; ram = "/dev/shm/a"; cpus = [ 1 ]; }; }`, "cpus are for a shadow"},
		{"one socket for two", `{ devices.a = { vfioUser = "/run/v"; vhostUser = "/run/v"; shadow = "64M"; }; }`, "each socket is for one device"},

		// What is not of its type, or of none, is an error of the evaluation.
		{"an unknown option", `{ enable = true; port = [ ]; }`, "The option `services.vvufwd.port' does not exist"},
		{"an unknown option of a port", `{ enable = true; ports = [ { kind = "nic"; address = "eth0"; speed = 1; } ]; }`, "speed' does not exist"},
		{"an unknown kind", `{ enable = true; ports = [ { kind = "nik"; address = "eth0"; } ]; }`, "kind' is not of type `one of"},
		{"no address", `{ enable = true; ports = [ { kind = "nic"; } ]; }`, "address' is used but not defined"},
		{"two words", `{ enable = true; ports = [ { kind = "nic"; address = "eth0 eth1"; } ]; }`, "address' is not of type"},
		{"a CPU's name", `{ enable = true; cpus = [ "one" ]; ` + pair + ` }`, "services.vvufwd.cpus' is not of type"},
		{"too many queues", `{ enable = true; queues = 9; ` + pair + ` }`, "between 1 and 8"},
		{"a time without a unit", `{ enable = true; idleAfter = "5"; ` + pair + ` }`, "idleAfter' is not of type"},
		{"a level", `{ enable = true; logLevel = "loud"; ` + pair + ` }`, "logLevel' is not of type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := n.configure(t, tt.configuration)
			got := fmt.Sprint(strings.Join(s.Refused, "\n"), err)
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant %q", got, tt.want)
			}
		})
	}

	t.Run("kinds and flags", func(t *testing.T) {
		var kinds []string
		if err := n.evaluate(t, &kinds, `(import ./nix/port.nix { inherit (pkgs) lib; }).kinds`); err != nil {
			t.Fatal(err)
		}
		built, err := n.build(t, debianKernel, "vvufwd")
		if err != nil {
			t.Fatal(err)
		}
		help, err := exec.Command(filepath.Join(built["vvufwd"], "bin", "vvufwd"), "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`KIND:ADDRESS of any port: ([^;]*);`).FindSubmatch(help)
		if found == nil {
			t.Fatalf("vvufwd --help does not name the kinds of ports:\n%s", help)
		}
		want := strings.Split(string(found[1]), ", ")
		slices.Sort(want)
		slices.Sort(kinds)
		if !slices.Equal(kinds, want) {
			t.Errorf("nix/port.nix has kinds %q, vvufwd has %q", kinds, want)
		}
		s, err := n.configure(t, `{
			enable = true; switch = true; isolate = true; bind = true; noIOMMU = true; followLink = true; cpus = [ 1 ]; queues = 1; queueSize = 256;
			idleAfter = "-1s"; statsInterval = "1s"; ports = [ { kind = "nic"; address = "0000:00:04.0"; } { kind = "vvu"; address = "0000:00:05.0"; } ];
		}`)
		if err != nil || len(s.Refused) > 0 {
			t.Fatal(err, s.Refused)
		}
		flags := 0
		for _, word := range command(t, s.Services["vvufwd"].ServiceConfig) {
			if strings.HasPrefix(word, "--") {
				flags++
				if !regexp.MustCompile(`(?m)^  ` + word + `( |$)`).Match(help) {
					t.Errorf("a unit has %s, which vvufwd --help does not name", word)
				}
			}
		}
		if flags < 14 {
			t.Errorf("the unit has %d flags, want all", flags)
		}
	})

	t.Run("many pairs", func(t *testing.T) { // vvufwd has no limit
		s, err := n.configure(t, `{ enable = true; ports = builtins.genList (i: { kind = "vhost-user"; address = "/run/${toString i}.sock"; }) 66; }`)
		if err != nil || len(s.Refused) > 0 {
			t.Error(err, s.Refused)
		}
	})

	t.Run("rights", func(t *testing.T) {
		s, err := n.configure(t, `{ enable = true; bind = true; `+strings.Replace(pair, "vhost-user\"; address = \"/run/vvufwd/a.sock", `vvu"; address = "0000:00:05.0`, 1)+` }`)
		if err != nil || len(s.Refused) > 0 {
			t.Fatal(err, s.Refused)
		}
		unit := s.Services["vvufwd"].ServiceConfig
		for name, want := range map[string]any{"CapabilityBoundingSet": "CAP_NET_RAW CAP_IPC_LOCK CAP_SYS_RAWIO", "ProtectKernelTunables": false, "PrivateDevices": false, "RestrictNamespaces": true} {
			if unit[name] != want {
				t.Errorf("%s is %v, want %v", name, unit[name], want)
			}
		}
		if got := fmt.Sprint(unit["RestrictAddressFamilies"], s.KernelModules); got != "[AF_UNIX AF_NETLINK AF_INET AF_PACKET] [vfio-pci]" {
			t.Error(got)
		}
		s, err = n.configure(t, `{ enable = true; extraArgs = [ "--metrics" ":9100" "--control=vsock:5000" ]; `+pair+` }`)
		if got := fmt.Sprint(s.Services["vvufwd"].ServiceConfig["RestrictAddressFamilies"]); err != nil || got != "[AF_UNIX AF_NETLINK AF_INET AF_PACKET AF_INET6 AF_VSOCK]" {
			t.Error(got, err)
		}

		// Where memory lies, for devices without an IOMMU, is what takes CAP_SYS_ADMIN, and nothing of it is in /sys.
		s, err = n.configure(t, `{ enable = true; noIOMMU = true; ports = [ { kind = "vvu"; address = "0000:00:05.0"; } { kind = "nic"; address = "0000:00:04.0"; } ]; }`)
		unit = s.Services["vvufwd"].ServiceConfig
		got := fmt.Sprintln(unit["CapabilityBoundingSet"], unit["ProtectKernelTunables"], unit["RestrictNamespaces"], unit["DeviceAllow"])
		if err != nil || got != "CAP_IPC_LOCK CAP_SYS_RAWIO CAP_SYS_ADMIN true true [char-vfio* rw /dev/vfio/vfio rw /dev/iommu rw /dev/mem rw]\n" {
			t.Error(got, err)
		}
		s, err = n.configure(t, `{ enable = true; `+strings.Replace(pair, `"packet"`, `"macvtap"`, 1)+` }`)
		unit = s.Services["vvufwd"].ServiceConfig
		got = fmt.Sprintln(unit["CapabilityBoundingSet"], unit["ProtectKernelTunables"], unit["RestrictNamespaces"], unit["DeviceAllow"], s.KernelModules)
		if err != nil || got != "CAP_NET_ADMIN CAP_SYS_ADMIN false net [/dev/net/tun rw char-macvtap rw] [macvtap]\n" {
			t.Error(got, err)
		}
	})
}

// TestSandbox compares NixOS' units with those of other distributions: each setting is the same but those that follow from the
// configuration, which are named here.
func TestSandbox(t *testing.T) {
	n := open(t)
	s, err := n.configure(t, `{
		enable = true; ports = [ { kind = "vhost-user"; address = "/run/vvufwd/a.sock"; } { kind = "xdp"; address = "eth1"; } ];
		devices.app = { vfioUser = "/run/vvufwd/v.sock"; vhostUser = "/run/vvufwd/app.sock"; shadow = "64M"; };
	}`)
	if err != nil || len(s.Refused) > 0 {
		t.Fatal(err, s.Refused)
	}
	own := []string{"EnvironmentFile", "ExecStart", "WorkingDirectory", "RuntimeDirectory", "ReadWritePaths"}
	for _, tt := range []struct {
		service, unit string
		own           []string
		least         int // settings that are compared
	}{
		{"vvufwd", "vvufwd@.service", append(own, "StateDirectory", "CapabilityBoundingSet", "RestrictAddressFamilies", "RestrictNamespaces", "DeviceAllow", "PrivateDevices", "ProtectKernelTunables", "LimitMEMLOCK"), 20},
		{"vvudev-app", "vvudev@.service", own, 25},
	} {
		want, compared := settings(t, string(units.Files()[tt.unit])), 0
		got := s.Services[tt.service].ServiceConfig
		for name, value := range want {
			if slices.Contains(tt.own, name) {
				continue
			}
			compared++
			if text := fmt.Sprint(got[name]); text != value {
				t.Errorf("%s: %s is %q, in %s %q", tt.service, name, text, tt.unit, value)
			}
		}
		if compared < tt.least {
			t.Errorf("%s: %d settings compared, want %d at least", tt.service, compared, tt.least)
		}
		for name := range got {
			if _, there := want[name]; !there && !slices.Contains(tt.own, name) && name != "RuntimeDirectoryPreserve" {
				t.Errorf("%s: %s is not in %s", tt.service, name, tt.unit)
			}
		}
	}
}

// settings are those of a unit's section [Service]: a name that is there more than once has all its values in brackets.
func settings(t *testing.T, unit string) map[string]string {
	t.Helper()
	_, rest, ok := strings.Cut(unit, "\n[Service]\n")
	section, _, more := strings.Cut(rest, "\n[")
	if !ok || !more {
		t.Fatalf("no section [Service] with another after it in %q", unit)
	}
	all := make(map[string][]string)
	for line := range strings.Lines(section) {
		line = strings.TrimSuffix(line, "\n")
		if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			all[name] = append(all[name], value)
		}
	}
	texts := make(map[string]string)
	for name, values := range all {
		if texts[name] = values[0]; len(values) > 1 {
			texts[name] = fmt.Sprint(values)
		}
	}
	return texts
}

// TestUnits starts what the units start.
func TestUnits(t *testing.T) {
	n := open(t)
	if _, err := n.build(t, debianKernel, "vvufwd"); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "vvufwd-units-") // an app VM's memory is a file in a tmpfs
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := n.configure(t, strings.ReplaceAll(`{
		enable = true;
		switch = true;
		ports = [
			{ kind = "vhost-user"; address = "DIR/a.sock"; mac = "52:54:00:00:00:01"; isolate = true; }
			{ kind = "vhost-user"; address = "DIR/b.sock"; client = true; }
		];
		cpus = [ 0 ]; queues = 2; idleAfter = "1ms"; statsInterval = "1s"; logLevel = "debug";
		extraArgs = [ "--max-memory" "1G" ];
		devices.one = { vfioUser = "DIR/vvu.sock"; vhostUser = "DIR/app.sock"; shadow = "16M"; queues = 4; cpus = [ 0 ]; };
		devices.two = { vfioUser = "DIR/vvu2.sock"; vhostUser = "DIR/app2.sock"; ram = "DIR/ram"; ramSize = "2M"; };
	}`, "DIR", dir))
	if err != nil || len(s.Refused) > 0 {
		t.Fatal(err, s.Refused)
	}
	if len(s.Services) != 3 {
		t.Errorf("%d services, want 3", len(s.Services))
	}
	for name, ready := range map[string]string{"vvufwd": "forwarding in a switch", "vvudev-one": "app.sock", "vvudev-two": "app2.sock"} {
		t.Run(name, func(t *testing.T) {
			words := command(t, s.Services[name].ServiceConfig)
			if len(words) == 0 {
				t.Fatal("no such unit")
			}
			cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				fmt.Fprintln(&said, lines.Text())
				if strings.Contains(lines.Text(), ready) {
					cmd.Process.Signal(syscall.SIGTERM)
				}
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), ready) {
				t.Errorf("%q: %v\n%s", cmd.Args, err, said.String())
			}
		})
	}
}
