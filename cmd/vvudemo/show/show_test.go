package show

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvudemo/capture"
)

func TestPortsOfTheDemo(t *testing.T) {
	ports := []counters.Port{{Name: "vvu:0000:00:05.0", RxPackets: 1}, {Name: "virtio-net:0000:00:04.0", RxPackets: 2}}
	if vvu, err := vvuPort(ports); err != nil || vvu.RxPackets != 1 {
		t.Errorf("vvu = %+v, %v", vvu, err)
	}
	if nic, err := nicPort(ports); err != nil || nic.RxPackets != 2 {
		t.Errorf("nic = %+v, %v", nic, err)
	}
	if _, err := nicPort(nil); err == nil {
		t.Error("a port is found in no statistics")
	}
}

func TestWebServesBlobAndEndless(t *testing.T) {
	w, err := startWeb("127.0.0.1", "127.0.0.1", TransferBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	bytes, sum, err := fetch(context.Background(), w.base+"/blob", TransferBytes)
	if err != nil || bytes != TransferBytes || sum != w.sum() {
		t.Errorf("fetch = %d, %s, %v", bytes, sum, err)
	}
	if _, _, err := fetch(context.Background(), w.base+"/blob", TransferBytes-1); err == nil || !strings.Contains(err.Error(), "more than it should") {
		t.Errorf("too long a download gives %v", err)
	}
	if _, _, err := fetch(context.Background(), w.base+"/absent", 1); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a missing file gives %v", err)
	}
	response, err := http.Get(w.base + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, response.Body, 1<<20); err != nil {
		t.Error(err)
	}
	response.Body.Close()
	// The last bytes are counted when they have been written, which may be after they were read here.
	for deadline := time.Now().Add(5 * time.Second); w.endless.Load() < 1<<20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if w.endless.Load() < 1<<20 {
		t.Errorf("%d endless bytes counted", w.endless.Load())
	}
}

func TestFetchNoticesACutDownload(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "100")
		io.WriteString(rw, "only this")
	}))
	defer server.Close()
	if _, _, err := fetch(context.Background(), server.URL, 100); err == nil {
		t.Error("a cut download is accepted")
	}
}

func TestTransferCompare(t *testing.T) {
	sum := hex.EncodeToString(sha256.New().Sum(nil))
	whole := Transfer{Bytes: TransferBytes, SHA256: sum, Seconds: 2}
	if figure, err := whole.compare(TransferBytes, sum, "it fetched"); err != nil || !strings.Contains(figure, "67 Mbit/s") {
		t.Errorf("figure = %q, %v", figure, err)
	}
	if _, err := whole.compare(TransferBytes, "other", "it fetched"); err == nil {
		t.Error("another content is accepted")
	}
	whole.Bytes--
	if _, err := whole.compare(TransferBytes, sum, "it fetched"); err == nil {
		t.Error("a missing byte is accepted")
	}
}

// TestRAM opens the file by its path, as another process does, and wants what was written there to be gone after clear.
func TestRAM(t *testing.T) {
	r, err := newRAM(8192)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := os.OpenFile(r.path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("left by a killed machine"), 4000); err != nil {
		t.Fatal(err)
	}
	if err := r.clear(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || len(got) != 8192 || strings.Trim(string(got), "\x00") != "" {
		t.Errorf("%d bytes, %v; want 8192 zeros", len(got), err)
	}
}

func TestNetworkURLs(t *testing.T) {
	user, err := openNetwork("", 0, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	lease := guest.Lease{Address: "10.231.77.15/24"}
	for i := range 2 {
		if url := user.appURL(&appVM{number: i, lease: lease}, "blob"); url != fmt.Sprintf("http://127.0.0.1:%d/blob", user.backend.ForwardPorts[i]) {
			t.Errorf("user networking: %s", url)
		}
	}
	if p := user.backend.ForwardPorts; p[0] == p[1] {
		t.Errorf("two app VMs share port %d", p[0])
	}
	tap := network{backend: machine.Backend{TAP: "tap0"}}
	if url := tap.appURL(&appVM{lease: lease}, "blob"); url != "http://10.231.77.15/blob" {
		t.Errorf("TAP: %s", url)
	}
}

func TestAddressOf(t *testing.T) {
	if ip, err := addressOf("lo"); err != nil || !ip.Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("lo = %v, %v", ip, err)
	}
	if _, err := addressOf("vvu-absent"); !errors.Is(err, errNoDevice) {
		t.Errorf("an absent device gives %v", err)
	}
}

func testReport() *Report {
	return &Report{
		OK: false, Seconds: 12.5, DriverQEMU: "11.1 (here)", DriverKernel: "6.12.0", IOMMU: "virtio", AppQEMU: "5.2 (there)", Kernel: "6.1.0", Device: "vvudev",
		Steps: []Step{
			{Name: "lease", OK: true, Figure: "10.0.2.15/24", Seconds: 0.16},
			{Name: "ping", Error: "lost one\nmore", Seconds: 4},
		},
		Ports: []counters.Port{{Name: "vvu:0000:00:05.0", RxPackets: 1, RxBytes: 2, TxPackets: 3, TxBytes: 4, Drops: map[string]uint64{"runt": 1, "no_peer": 2}}},
		Capture: &capture.Summary{
			Total:  capture.Both{FromApp: capture.Count{Frames: 1, Bytes: 42}},
			ByKind: map[string]*capture.Both{capture.ARP: {FromApp: capture.Count{Frames: 1, Bytes: 42}}},
		},
	}
}

func TestWriteTable(t *testing.T) {
	var got strings.Builder
	if err := testReport().WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	want := `
driver VM on QEMU 11.1 (here), kernel 6.12.0, IOMMU virtio; app VM on QEMU 5.2 (there), kernel 6.1.0; virtio-vhost-user device: vvudev

STEP   RESULT  SECONDS  FIGURE
lease  ok      0.2      10.0.2.15/24
ping   FAILED  4.0      lost one

              PORT  RX FRAMES  RX BYTES  TX FRAMES  TX BYTES              DROPS
  vvu:0000:00:05.0          1         2          3         4  no_peer 2, runt 1

  NIC SIDE  FRAMES FROM APP VM  BYTES  FRAMES TO APP VM  BYTES
       ARP                   1     42                 0      0
       all                   1     42                 0      0

FAILED in 12.5 s
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestReportAsJSON(t *testing.T) {
	text, err := json.Marshal(testReport())
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testReport(), &back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// TestRunReportsAndCleansUpAFailure runs the demo with a QEMU that fails at once.
func TestRunReportsAndCleansUpAFailure(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	qemu := filepath.Join(dir, "qemu")
	if err := os.WriteFile(qemu, []byte("#!/bin/sh\necho \"qemu: cannot open the kernel\" >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(dir, "6.1.0-test")
	if err := os.MkdirAll(filepath.Join(release, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"kernel/virtio_pci.ko": "", "kernel/virtio_net.ko": "",
		"modules.dep": "kernel/virtio_pci.ko:\nkernel/virtio_net.ko:\n",
	} {
		if err := os.WriteFile(filepath.Join(release, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := kmod.Open(release)
	if err != nil {
		t.Fatal(err)
	}
	q := machine.QEMU{Command: []string{qemu}, Version: machine.VfioUser, Origin: "test"}
	var progress strings.Builder
	cfg := Config{
		Tools:  &tools.Tools{QEMU: q, AppQEMU: q, Kernel: "vmlinuz", Modules: modules, Busybox: qemu},
		Direct: true, Accel: "tcg", SMP: 1, OutDir: filepath.Join(dir, "out"), Progress: &progress,
	}
	report, err := Run(context.Background(), cfg)
	if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "cannot open the kernel") {
		t.Errorf("error = %v", err)
	}
	if report.OK || report.Step("images") == nil || !report.Step("images").OK || report.Step("app VM") == nil || report.Step("app VM").OK || report.Step("lease") != nil {
		t.Errorf("steps = %+v", report.Steps)
	}
	if !strings.Contains(progress.String(), "app VM     FAILED: ") {
		t.Errorf("progress = %s", progress.String())
	}
	// The kernel has no packet generator: only who asks for frames has to have one.
	cfg.Frames = 1
	if report, err = Run(context.Background(), cfg); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "pktgen") || report.Step("app VM") != nil {
		t.Errorf("frames without pktgen: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "vvudemo-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
