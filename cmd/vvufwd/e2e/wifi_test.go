package e2e

import (
	_ "embed"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev/l2nat"
)

//go:embed testdata/wifi.sh
var wifiInit []byte

// wifiTexts are what the access point, the station and their servers are told.
var wifiTexts = map[string]string{
	"etc/hostapd.conf": `interface=wlan0
driver=nl80211
ssid=vvufwd
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase=not so secret
wpa_group_rekey=5
`,
	"etc/wpa.conf": `network={
	ssid="vvufwd"
	psk="not so secret"
	scan_freq=2412
}
`,
	"etc/lease.sh": `#!/bin/sh
case "$1" in
deconfig) ip -4 addr flush dev "$interface" ;;
bound | renew) ip addr add "$ip/$mask" dev "$interface" ;;
esac
`,
	"etc/udhcpd.conf": `interface wlan0
start 10.9.0.50
end 10.9.0.60
lease_file /tmp/leases
pidfile /tmp/udhcpd.pid
option subnet 255.255.255.0
option lease 600
`,
}

// TestWiFi has two guests reach an access point, and be reached from there, through a Wi-Fi card in station mode: by addresses that
// they get from the access point's DHCP server, by IPv4 and IPv6, with WPA2, whose messages do not pass vvufwd. Both cards are
// the kernel's simulated ones, in one machine, and all stacks are Linux's.
func TestWiFi(t *testing.T) {
	l := newLab(t)
	options := tools.Options{BuildDir: l.build, Progress: func(text string) { l.Log(text) }}
	files, err := tools.WiFi(l.ctx, options)
	l.must(err)
	options.NeedHardware = true // the cloud kernel has no Wi-Fi
	found, err := tools.Find(l.ctx, options)
	l.must(err)
	files["vvufwd"] = l.tools.Vvufwd

	image := filepath.Join(l.out, "wifi.cpio.gz")
	_, err = initramfs.Script{
		Init: wifiInit, Busybox: l.tools.Busybox, Files: files, Texts: wifiTexts,
		Modules: found.FullModules, Names: []string{"mac80211_hwsim", "ccm", "ctr", "veth"},
	}.Save(image)
	l.must(err)
	boot := machine.Boot{QEMU: l.tools.AppQEMU, Kernel: found.FullKernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 512}
	m, err := vm.Start(vm.Config{
		Name: "Wi-Fi", Argv: boot.Argv(), LogPath: filepath.Join(l.out, "wifi.log"),
	})
	l.must(err)
	l.atEnd(func() { m.Close() })

	begin := time.Now()
	said := func(line string) bool { return strings.HasPrefix(line, "@@ ") }
	var stats netfwd.Stats
	for mark, end := 0, false; !end; {
		var line string
		line, mark, err = m.Expect(l.ctx, mark, 2*bootLimit, "word of the next step", said)
		l.must(err)
		_, text, _ := strings.Cut(strings.TrimPrefix(line, "@@ "), " ")
		l.Logf("%.0f s: %s", time.Since(begin).Seconds(), text[:min(len(text), 300)])
		if what, failed := strings.CutPrefix(text, "failed "); failed {
			_ = m.WaitExit(l.ctx, stopLimit) // its logs follow
			l.Fatalf("%s: see %s", what, filepath.Join(l.out, "wifi.log"))
		}
		if record, found := strings.CutPrefix(text, "statistics "); found {
			l.must(json.Unmarshal([]byte(record), &stats))
		}
		end = text == "all is well"
	}
	l.must(m.WaitExit(l.ctx, stopLimit))
	l.checkWiFi(stats)
}

// checkWiFi looks at what vvufwd has counted.
func (l *lab) checkWiFi(s netfwd.Stats) {
	i := slices.IndexFunc(s.Ports, func(p netfwd.PortStats) bool { return p.Name == "packet:wlan1" })
	if i < 0 {
		l.Fatalf("nothing was counted at the card: %+v", s)
	}
	var of struct {
		L2NAT l2nat.Stats `json:"l2nat"`
	}
	raw, err := json.Marshal(s.Ports[i].Device)
	l.must(err)
	l.must(json.Unmarshal(raw, &of))
	if n := of.L2NAT; n.Stations != 2 || n.Addresses < 6 || n.Spoofed < 4 || n.Refused != 0 || n.Foreign != 0 {
		l.Errorf("the card's translation: %+v", n)
	}
	for _, p := range s.Ports {
		for why, n := range p.Drops {
			card := p.Name == "packet:wlan1" && (why == "spoofed" || why == "link_down")
			if !card && why != "no_room" { // a busy machine
				l.Errorf("%s: %d frames were dropped: %s", p.Name, n, why)
			}
		}
	}
	l.Logf("%+v", of.L2NAT)
}
