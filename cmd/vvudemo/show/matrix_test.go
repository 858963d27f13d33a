package show

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvudemo/matrix"
)

func testMatrixReport() *MatrixReport {
	good := matrix.Combination{Packed: true, Many: true, Wide: true, Jumbo: true}
	bad := matrix.Combination{Mergeable: true, Newer: true}
	return &MatrixReport{
		Seconds: 61, DriverQEMU: "11.1 (x)", AppQEMU: "11.1 (x)", Kernels: []string{"6.1.0-1", "6.12.1-2"}, TransferBytes: 16 << 20,
		Rows: []MatrixRow{
			{
				Combination: good, Name: good.String(), Kernel: "6.1.0-1", OK: true, Seconds: 20, Features: "VERSION_1",
				Download: &Transfer{Bytes: 16 << 20, Seconds: 1}, Upload: &Transfer{Bytes: 16 << 20, Seconds: 0.5},
				FromQueues: []uint64{5, 6, 5, 5}, ToQueues: []uint64{21, 0, 0, 0}, PlainFrom: 99.95, PlainTo: 98,
			},
			{Combination: bad, Name: bad.String(), Kernel: "6.12.1-2", Error: "no lease\nmore", Seconds: 3},
		},
	}
}

func TestWriteMatrixTable(t *testing.T) {
	var out strings.Builder
	if err := testMatrixReport().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	const want = `
kernels 6.1.0-1 and 6.12.1-2; driver VM on QEMU 11.1 (x); app VM on QEMU 11.1 (x); 16.00 MiB each way

COMBINATION                                               KERNEL  RESULT  SECONDS  MBIT/S TO  FROM  PLAIN % TO  FROM  FRAMES FROM QUEUES  TO QUEUES
packed, one buffer, no offloads, 4 queues, wide NIC, jumbo  6.1     ok      20.0     134        268   98.0  100.0  5 6 5 5             21 0 0 0
split, mergeable, no offloads, 1 queues, narrow NIC         6.12    FAILED  3.0      no lease

1 of 2 shown in 61 s
`
	if got := out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("table =%s\nwant %s", got, want)
	}
}

func TestMatrixReportAsJSON(t *testing.T) {
	text, err := json.Marshal(testMatrixReport().Rows[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"packed":true`, `"mergeable":false`, `"wide":true`, `"kernel":"6.1.0-1"`, `"from_queues":[5,6,5,5]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// TestMatrixCleansUpAFailure has a vvudev that fails at once.
func TestMatrixCleansUpAFailure(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"vvudev: cannot listen\" >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(dir, "6.1.0-test")
	if err := os.MkdirAll(filepath.Join(release, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	var dep strings.Builder
	for _, name := range []string{"virtio_pci", "virtio_net", "pktgen", "8021q", "vfio", "vfio_iommu_type1", "vfio-pci"} {
		if err := os.WriteFile(filepath.Join(release, "kernel", name+".ko"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		dep.WriteString("kernel/" + name + ".ko:\n")
	}
	if err := os.WriteFile(filepath.Join(release, "modules.dep"), []byte(dep.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	modules, err := kmod.Open(release)
	if err != nil {
		t.Fatal(err)
	}
	q := machine.QEMU{Command: []string{program}, Version: machine.VfioUser, Origin: "test"}
	var progress strings.Builder
	report, err := RunMatrix(context.Background(), Config{
		Tools: &tools.Tools{QEMU: q, AppQEMU: q, Kernel: "vmlinuz", Modules: modules, Busybox: program, Vvufwd: program, Vvudev: program},
		Accel: "tcg", SMP: 1, OutDir: filepath.Join(dir, "out"), Progress: &progress,
	}, []matrix.Combination{{}, {Newer: true}}) // there is no newer kernel
	if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "cannot listen") {
		t.Errorf("error = %v", err)
	}
	if report.OK || len(report.Rows) != 0 || len(report.Kernels) != 1 {
		t.Errorf("report = %+v", report)
	}
	if !strings.Contains(progress.String(), "vvudev     FAILED: ") {
		t.Errorf("progress = %s", progress.String())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "vvudemo-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunMatrixOfNothing(t *testing.T) {
	cfg := Config{Tools: &tools.Tools{Modules: &kmod.Tree{Release: "6.1.0-test"}}}
	report, err := RunMatrix(context.Background(), cfg, []matrix.Combination{{Newer: true}})
	if err == nil || !strings.Contains(err.Error(), "--kernel") || report.OK || len(report.Rows) != 0 {
		t.Errorf("report = %+v, %v", report, err)
	}
}

// Frames that vvufwd had to cut are not counted as ones that should have been plain.
func TestCountPlain(t *testing.T) {
	port := func(name string, rx, plain, segmented uint64) counters.Port {
		return counters.Port{Name: name, RxPackets: rx, Plain: plain, Offloads: counters.Offloads{Segmented: segmented}}
	}
	before := []counters.Port{port("vvu:a", 10, 1, 0), port("nic:b", 100, 100, 5)}
	after := []counters.Port{port("vvu:a", 60, 21, 0), port("vvu:a/q1", 50, 20, 0), port("nic:b", 200, 190, 25), port("nic:b/q1", 100, 80, 30)}
	var row MatrixRow
	row.countPlain(before, after)
	if row.PlainFrom != 80 || row.PlainTo != 85 { // 40 of 100 without 50, 170 of 200
		t.Errorf("%.1f %% from the app VM, %.1f %% to it", row.PlainFrom, row.PlainTo)
	}
	row.countPlain(nil, before)
	if row.PlainFrom != 20 || row.PlainTo != 100 { // 1 of 10 without 5, and all
		t.Errorf("without a sample before: %.1f %%, %.1f %%", row.PlainFrom, row.PlainTo)
	}
}

// Each kind of driver VM is booted once, and with --shadow none without.
func TestDriverVMsOfTheMatrix(t *testing.T) {
	for name, tt := range map[string]struct {
		combinations []matrix.Combination
		vms          int
	}{
		"pairs": {matrix.Pairs(), 3}, "all": {matrix.All(), 4}, "one": {matrix.Pairs()[:1], 1},
		"shadow": {shadowed(matrix.All()), 2},
	} {
		seen := map[matrix.Combination]bool{}
		vms := byDriver(tt.combinations)
		for _, vm := range vms {
			for _, c := range vm {
				if seen[c] || c.Wide != vm[0].Wide || c.Shadow != vm[0].Shadow || name == "shadow" && !c.Shadow {
					t.Errorf("%s: %v stands beside %v, or twice", name, c, vm[0])
				}
				seen[c] = true
			}
		}
		if len(vms) != tt.vms || len(seen) != len(tt.combinations) {
			t.Errorf("%s: %d driver VMs with %d rows, want %d with %d", name, len(vms), len(seen), tt.vms, len(tt.combinations))
		}
	}
}
