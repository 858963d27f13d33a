package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/cmd/vvudemo/capture"
	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/show"
)

const (
	pktgenFrames = 20000
	restarts     = 2
	rebinds      = 1
)

// Limits of a whole test, and of what it waits for.
const (
	testLimit = 25 * time.Minute
	bootLimit = vm.BootLimit
	stopLimit = vm.StopLimit
)

// mostlyPlain is the least per cent of frames that are plain where nothing stands against it. Some find a ring that has no buffers yet, or
// buffers that are not large enough yet: some thirty of a transfer, however many frames it has.
const mostlyPlain = 95

// TestTwoMachines boots a driver VM with vvufwd as its /init and an app VM behind it, and sends traffic both ways. It then loads the
// path with the kernel's packet generator, kills the app VM twice under load, and has its network device without a driver for a while.
func TestTwoMachines(t *testing.T) {
	t.Parallel()
	cfg := shows(matrix.HardwarePairs(matrix.TwoMachines)...)
	cfg.Frames, cfg.Idle, cfg.Restarts, cfg.Rebinds = pktgenFrames, 5*time.Second, restarts, rebinds
	report := run(t, cfg)
	for _, name := range []string{"images", "vvudev", "driver VM", "app VM", "offloads", "lease", "ping", "download", "upload", "pktgen", "idle", "restarts", "rebinds", "counters", "power off", "capture"} {
		if step := report.Step(name); step == nil || !step.OK {
			t.Errorf("step %q: %+v", name, step)
		}
	}
	checkTraffic(t, report)
	checkCounters(t, report)
	checkOffloads(t, report)
	checkCapture(t, report.Capture)
}

// run runs the demo and requires that all of it was shown.
func run(t *testing.T, cfg show.Config) *show.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	cfg.Tools = findTools(t)
	cfg.Accel, cfg.SMP, cfg.Progress = "tcg", 2, t.Output()
	if cfg.OutDir == "" {
		cfg.OutDir = outDir(t)
	}
	report, err := show.Run(ctx, cfg)
	if err != nil {
		logTail(t, filepath.Join(cfg.OutDir, "driver.log"))
		t.Fatal(err)
	}
	return report
}

// findTools finds, fetches or builds all that the tests of this package run.
func findTools(t *testing.T) *tools.Tools {
	t.Helper()
	source := tools.SourceDir()
	if source == "" {
		t.Fatal("the test does not run in the source tree")
	}
	found, err := tools.Find(t.Context(), tools.Options{
		BuildDir: filepath.Join(source, "build"), SourceDir: source, NeedVfioUser: true, NeedPrograms: true, NeedMatrix: true, NeedHardware: true, NeedBare: true,
		Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// outDir is where a test's images and logs are left.
func outDir(t *testing.T) string {
	return filepath.Join(tools.SourceDir(), "build", "e2e", filepath.FromSlash(t.Name()))
}

func checkTraffic(t *testing.T, r *show.Report) {
	if r.Lease == nil || r.Lease.Address != "10.0.2.15/24" || r.Lease.Router != "10.0.2.2" {
		t.Errorf("lease = %+v", r.Lease)
	}
	if r.Pings == nil || r.Pings.Sent != show.PingCount || r.Pings.Received != show.PingCount {
		t.Errorf("pings = %+v, want %d sent and received", r.Pings, show.PingCount)
	}
	for name, transfer := range map[string]*show.Transfer{"download": r.Download, "upload": r.Upload} {
		if transfer == nil || transfer.Bytes != show.TransferBytes || len(transfer.SHA256) != 64 || transfer.Seconds <= 0 {
			t.Errorf("%s = %+v", name, transfer)
		}
	}
	if r.Pktgen == nil || r.Pktgen.Sent != pktgenFrames || r.Pktgen.Passed < pktgenFrames {
		t.Errorf("packet generator = %+v, want %d frames to pass", r.Pktgen, pktgenFrames)
	}
	if len(r.Restarts) != restarts {
		t.Errorf("restarts = %+v, want %d", r.Restarts, restarts)
	}
	if len(r.Rebinds) != rebinds {
		t.Errorf("rebinds = %+v, want %d", r.Rebinds, rebinds)
	}
	for _, restart := range r.Restarts {
		if restart.BytesBefore <= 0 || restart.Seconds <= 0 {
			t.Errorf("restart = %+v", restart)
		}
	}
}

// checkCounters wants every frame that came in at one port to have gone out at the other or to be counted as dropped.
func checkCounters(t *testing.T, r *show.Report) {
	if len(r.Ports) != 2 {
		t.Fatalf("ports = %+v, want two", r.Ports)
	}
	vvu, nic := r.Ports[0], r.Ports[1]
	if vvu.Name != "vvu:0000:00:05.0" {
		t.Errorf("the first port is %q", vvu.Name)
	}
	if sent, out := whole(nic), whole(nic)+nic.Dropped()+vvu.Dropped(); vvu.RxPackets < sent || vvu.RxPackets > out {
		t.Errorf("%d frames came from the app VM, %d went to the NIC: %+v", vvu.RxPackets, nic.TxPackets, r.Ports)
	}
	if sent, out := whole(vvu), whole(vvu)+nic.Dropped()+vvu.Dropped(); nic.RxPackets < sent || nic.RxPackets > out {
		t.Errorf("%d frames came from the NIC, %d went to the app VM: %+v", nic.RxPackets, vvu.TxPackets, r.Ports)
	}
	for _, bytes := range []uint64{vvu.RxBytes, vvu.TxBytes, nic.RxBytes, nic.TxBytes} {
		if r.Download == nil || bytes < uint64(r.Download.Bytes) {
			t.Errorf("a port counted only %d bytes: %+v", bytes, r.Ports)
		}
	}
}

// whole is how many frames were sent to a port, of those that were cut not the pieces.
func whole(p counters.Port) uint64 { return p.TxPackets - p.Offloads.Pieces + p.Offloads.Segmented }

// checkOffloads wants what QEMU's user networking cannot do to have been done by vvufwd. The app VM cannot tell.
func checkOffloads(t *testing.T, r *show.Report) {
	for _, name := range []string{"CSUM", "GUEST_CSUM", "HOST_TSO4", "HOST_TSO6", "GUEST_TSO4", "GUEST_TSO6"} {
		if !slices.Contains(strings.Split(r.Offloads, "|"), name) {
			t.Errorf("the app VM does without %s: %s", name, r.Offloads)
		}
	}
	if o := r.Ports[1].Offloads; o.Segmented == 0 || o.Checksummed == 0 || o.Pieces < 2*o.Segmented || o.Passed != 0 {
		t.Errorf("offloads on the way to the NIC: %v", o)
	}
}

func checkCapture(t *testing.T, s *capture.Summary) {
	if s == nil {
		t.Fatal("no capture")
	}
	// Each start of the app VM asks for a lease, and each return of its driver.
	for _, kind := range []string{"Discover", "Offer", "Request", "Ack"} {
		if s.DHCP[kind] < restarts+rebinds+1 {
			t.Errorf("%d DHCP %s messages passed, want %d or more", s.DHCP[kind], kind, restarts+rebinds+1)
		}
	}
	if s.EchoRequests < show.PingCount || s.EchoReplies < show.PingCount {
		t.Errorf("%d echo requests and %d replies passed", s.EchoRequests, s.EchoReplies)
	}
	if vlan := s.Kind(capture.VLAN).FromApp.Frames; vlan != pktgenFrames {
		t.Errorf("%d frames of the packet generator passed, want %d", vlan, pktgenFrames)
	}
	if tcp := s.Kind(capture.TCP); tcp.FromApp.Bytes < show.TransferBytes || tcp.ToApp.Bytes < show.TransferBytes {
		t.Errorf("TCP = %+v", tcp)
	}
}

// logTail shows the end of a console log, which tells why a machine failed.
func logTail(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("the end of %s:\n%s", path, text[max(0, len(text)-8000):])
}
