package guest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/virtio"
)

const limit = 20 * time.Second

// fake starts a shell script that plays the app VM.
func fake(t *testing.T, script string) *vm.Process {
	t.Helper()
	p, err := vm.Start(vm.Config{Name: "app VM", Argv: []string{"/bin/sh", "-c", script}, LogPath: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// ready is a script that answers each command with the lines given for it, after the echo a terminal would print.
func ready(t *testing.T, answers string) *App {
	t.Helper()
	console := fake(t, `echo "booting"; echo "@@ ready 52:54:00:00:00:0a"
while read -r command a b; do
  echo "$command $a $b"
  case $command in
`+answers+`
  esac
done`)
	app, mac, err := WaitReady(context.Background(), console, limit)
	if err != nil {
		t.Fatal(err)
	}
	if mac != "52:54:00:00:00:0a" {
		t.Errorf("hardware address = %q", mac)
	}
	return app
}

func TestCommands(t *testing.T) {
	ctx := context.Background()
	app := ready(t, `
lease) echo "[ 3.2] kernel message @@ lease ok 10.0.2.15/24 10.0.2.2 120" ;;
address) [ "$a" = 10.0.0.1/24 ] && echo "@@ address ok" ;;
device) echo "@@ device ok 9000 12 3456 1 22 2" ;;
carrier) echo "@@ carrier ok 1" ;;
features) echo "@@ features ok 1100000100010000000000000000000010000000000000000000000000000000" ;;
rebind) [ "$a" = 0 ] || [ "$a" = 3 ] && echo "@@ rebind ok" ;;
ping) [ "$b" = "10.0.2.2 56" ] && echo "@@ ping ok $a 19 0.5/0.8/1.2" ;;
fetch) echo "@@ fetch ok 16777216 abcd 2500" ;;
blob) echo "@@ blob ok $a ef01" ;;
off) echo "@@ off ok"; exit 0 ;;`)
	lease, err := app.Lease(ctx, limit)
	if want := (Lease{"10.0.2.15/24", "10.0.2.2", 120 * time.Millisecond}); err != nil || lease != want || lease.IP() != "10.0.2.15" {
		t.Errorf("lease = %+v, %v", lease, err)
	}
	if err := app.Address(ctx, limit, "10.0.0.1/24"); err != nil {
		t.Error(err)
	}
	device, err := app.Device(ctx, limit)
	if want := (Device{MTU: 9000, RxPackets: 12, RxBytes: 3456, RxDropped: 1, TxPackets: 22, TxDropped: 2}); err != nil || device != want {
		t.Errorf("device = %+v, %v", device, err)
	}
	if up, err := app.Carrier(ctx, limit); err != nil || !up {
		t.Errorf("carrier = %v, %v", up, err)
	}
	features, err := app.Features(ctx, limit)
	if want := virtio.NetCsum | virtio.NetGuestCsum | virtio.NetGuestTSO4 | virtio.NetHostTSO4 | virtio.Version1; err != nil || features != want {
		t.Errorf("features = %v, %v, want %v", features, err, want)
	}
	if err := app.Rebind(ctx, limit); err != nil {
		t.Error(err)
	}
	if err := app.RebindAfter(ctx, limit, 3*time.Second); err != nil {
		t.Error(err)
	}
	pings, err := app.Ping(ctx, limit, "10.0.2.2", 20)
	if want := (Pings{20, 19, "0.5/0.8/1.2"}); err != nil || pings != want {
		t.Errorf("pings = %+v, %v", pings, err)
	}
	fetched, err := app.Fetch(ctx, limit, "http://10.0.2.2/x")
	if want := (Transfer{16 << 20, "abcd", 2500 * time.Millisecond}); err != nil || fetched != want {
		t.Errorf("fetched = %+v, %v", fetched, err)
	}
	blob, err := app.Blob(ctx, limit, 4096)
	if want := (Transfer{4096, "ef01", 0}); err != nil || blob != want {
		t.Errorf("blob = %+v, %v", blob, err)
	}
	if err := app.PowerOff(ctx, limit); err != nil {
		t.Error(err)
	}
}

func TestEthtool(t *testing.T) {
	ctx := context.Background()
	app := ready(t, `
offloads) echo "@@ offloads ok tx-checksumming=on tx-udp-segmentation=off" ;;
channels) echo "@@ channels ok ${a:-4} 8" ;;
ring) echo "@@ ring ok ${a:-256} 1024" ;;
spread) [ "$b" = 10.0.2.2 ] && echo "@@ spread ok 4 $((4 * a)) 39" ;;
vlan) [ "$a $b" = "5 10.5.0.2/24" ] && echo "@@ vlan ok" ;;`)
	offloads, err := app.Offloads(ctx, limit)
	if err != nil || len(offloads) != 2 || !offloads["tx-checksumming"] || offloads["tx-udp-segmentation"] {
		t.Errorf("offloads = %v, %v", offloads, err)
	}
	for name, test := range map[string]struct {
		got  func() (Setting, error)
		want Setting
	}{
		"channels":     {func() (Setting, error) { return app.Channels(ctx, limit) }, Setting{4, 8}},
		"set channels": {func() (Setting, error) { return app.SetChannels(ctx, limit, 2) }, Setting{2, 8}},
		"ring":         {func() (Setting, error) { return app.Ring(ctx, limit) }, Setting{256, 1024}},
		"set ring":     {func() (Setting, error) { return app.SetRing(ctx, limit, 128) }, Setting{128, 1024}},
	} {
		if got, err := test.got(); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, test.want)
		}
	}
	spread, err := app.Spread(ctx, limit, "10.0.2.2", 10)
	if want := (Spread{4, 40, 39}); err != nil || spread != want {
		t.Errorf("spread = %+v, %v", spread, err)
	}
	if err := app.VLAN(ctx, limit, 5, "10.5.0.2/24"); err != nil {
		t.Error(err)
	}
}

// TestBackground lets a ping and a download run while another command is obeyed.
func TestBackground(t *testing.T) {
	ctx := context.Background()
	app := ready(t, `
background) late="$a $b"; echo "@@ background ok" ;;
channels) echo "@@ channels ok 2 4" ;;
join)
  case $late in
  "ping 30 10.0.2.2 56") echo "@@ ping ok 30 29 1/2/3" ;;
  "fetch http://10.0.2.2/x") echo "@@ fetch ok 4096 abcd 10" ;;
  esac ;;`)
	between := func() {
		if got, err := app.SetChannels(ctx, limit, 2); err != nil || got.Current != 2 {
			t.Errorf("command between: %+v, %v", got, err)
		}
	}
	if err := app.BeginPing(ctx, limit, "10.0.2.2", 30); err != nil {
		t.Fatal(err)
	}
	between()
	if got, err := app.EndPing(ctx, limit); err != nil || got != (Pings{30, 29, "1/2/3"}) {
		t.Errorf("pings = %+v, %v", got, err)
	}
	if err := app.BeginFetch(ctx, limit, "http://10.0.2.2/x"); err != nil {
		t.Fatal(err)
	}
	between()
	if got, err := app.EndFetch(ctx, limit); err != nil || got != (Transfer{4096, "abcd", 10 * time.Millisecond}) {
		t.Errorf("download = %+v, %v", got, err)
	}
}

func TestFailuresSayWhy(t *testing.T) {
	ctx := context.Background()
	app := ready(t, `
lease) echo "@@ lease failed no lease, forking to background" ;;
ping) echo "@@ ping ok 20" ;;
fetch) echo "@@ fetch ok many x 1" ;;
blob) ;;
offloads) echo "@@ offloads ok tx-checksumming" ;;
channels) echo "@@ channels failed netlink error: Invalid argument" ;;
off) exit 5 ;;`)
	for name, test := range map[string]struct {
		do   func() error
		want string
	}{
		"lease":    {func() error { _, err := app.Lease(ctx, limit); return err }, "lease failed: no lease, forking"},
		"ping":     {func() error { _, err := app.Ping(ctx, limit, "h", 20); return err }, "too few fields"},
		"fetch":    {func() error { _, err := app.Fetch(ctx, limit, "u"); return err }, `"many" is not a count`},
		"offloads": {func() error { _, err := app.Offloads(ctx, limit); return err }, `"tx-checksumming" is not NAME=on|off`},
		"channels": {func() error { _, err := app.SetChannels(ctx, limit, 9); return err }, "channels failed: netlink error: Invalid argument"},
		"blob":     {func() error { _, err := app.Blob(ctx, 50*time.Millisecond, 1); return err }, `no end of "blob 1" within 50ms`},
	} {
		if err := test.do(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error = %v, want %q in it", name, err, test.want)
		}
	}
	if err := app.PowerOff(ctx, limit); err == nil || !strings.Contains(err.Error(), "exit status 5") {
		t.Errorf("power off: %v", err)
	}
}

func TestPktgenReportsProgress(t *testing.T) {
	app := ready(t, `pktgen) echo "@@ pktgen at 10"; echo "@@ pktgen at 10"; echo "@@ pktgen at 25"; echo "@@ pktgen ok $a 1500 2" ;;`)
	var seen []int64
	burst, err := app.Pktgen(context.Background(), limit, Generator{Frames: 30, Sizes: pktgen.OfSize(60)}, func(sent int64) { seen = append(seen, sent) })
	if want := (Burst{30, 1500 * time.Microsecond, 2}); err != nil || burst != want {
		t.Errorf("burst = %+v, %v", burst, err)
	}
	if len(seen) != 2 || seen[0] != 10 || seen[1] != 25 {
		t.Errorf("progress = %v, want 10 and 25", seen)
	}
}

// TestPktgenCommand: a mix is one word, and a stream a port.
func TestPktgenCommand(t *testing.T) {
	app := ready(t, `pktgen) [ "$a $b" = "0 60,7;590,4;1514,1 10003 250 1.5 0" ] && echo "@@ pktgen ok 375 1500000 0" ;;
listen) echo "@@ listen ok" ;;
heard) echo '@@ heard ok {"frames":7,"highest":9,"delay":{"least":-3.5}}' ;;`)
	ctx := context.Background()
	burst, err := app.Pktgen(ctx, limit, Generator{Sizes: pktgen.IMIX, Stream: 3, Rate: 250, Time: 1500 * time.Millisecond}, nil)
	if err != nil || burst.Frames != 375 {
		t.Errorf("burst = %+v, %v", burst, err)
	}
	if err := app.Listen(ctx, limit, 3); err != nil {
		t.Error(err)
	}
	if a, err := app.Heard(ctx, limit); err != nil || a.Frames != 7 || a.Highest != 9 || a.Delay.Least != -3.5 {
		t.Errorf("heard %+v, %v", a, err)
	}
}

// TestPktgenNoticesAStall plays the fault that this project is about: frames stop, the console does not.
func TestPktgenNoticesAStall(t *testing.T) {
	app := ready(t, `pktgen) echo "@@ pktgen at 280"; while sleep 0.02; do echo "@@ pktgen at 280"; done ;;`)
	_, err := app.Pktgen(context.Background(), 200*time.Millisecond, Generator{Frames: 1000, Sizes: pktgen.IMIX}, func(int64) {})
	if err == nil || !strings.Contains(err.Error(), "after 280 frames of 1000") {
		t.Errorf("error = %v", err)
	}
}

func TestStartFailures(t *testing.T) {
	console := fake(t, `echo "@@ panic modprobe virtio_net"`)
	if _, _, err := WaitReady(context.Background(), console, limit); err == nil || !strings.Contains(err.Error(), "modprobe virtio_net") {
		t.Errorf("a panic gives %v", err)
	}
	console = fake(t, `echo "Kernel panic"; exit 0`)
	if _, _, err := WaitReady(context.Background(), console, limit); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("an early end gives %v", err)
	}
}
