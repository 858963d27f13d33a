package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/show"
)

// TestMatrix boots app VMs of two kernels with all kinds of rings, buffers, offloads and numbers of queues, such that each pair of
// choices occurs: "make matrix" tries all of them. One driver VM with one kind of NIC serves half of them, another one the others, of
// which two are behind a vvudev --shadow.
func TestMatrix(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	// Frames that a guest has not offered large enough buffers for yet are not plain: some thirty at the beginning of a transfer, of which
	// there have to be enough of others.
	cfg := show.Config{Tools: findTools(t), Accel: "tcg", SMP: 2, OutDir: outDir(t), Progress: t.Output(), Transfer: 8 << 20}
	wanted := matrix.Pairs()
	report, err := show.RunMatrix(ctx, cfg, wanted)
	if err := report.WriteTable(t.Output()); err != nil {
		t.Error(err)
	}
	if err != nil {
		for _, side := range []string{"narrow", "wide", "wide-shadow"} {
			logTail(t, filepath.Join(cfg.OutDir, side, "driver.log"))
		}
		t.Fatal(err)
	}
	if len(report.Kernels) != 2 || len(report.Rows) != len(wanted) {
		t.Fatalf("%d of %d combinations were shown, with kernels %q", len(report.Rows), len(wanted), report.Kernels)
	}
	for i, row := range report.Rows {
		if row.Combination != wanted[i] || !row.OK || row.Kernel != report.Kernels[index(row.Newer)] {
			t.Errorf("%+v: %+v", wanted[i], row)
		}
		for name, transfer := range map[string]*show.Transfer{"download": row.Download, "upload": row.Upload} {
			if transfer == nil || transfer.Bytes != cfg.Transfer {
				t.Errorf("%s: %s of %+v", row.Name, name, transfer)
			}
		}
		// Behind a shadow, large segments come to vvufwd in more buffers than a plain frame may have.
		large := row.Shadow && row.Offloads
		if row.PlainFrom < mostlyPlain && !large || row.PlainTo < mostlyPlain {
			t.Errorf("%s: only %.1f %% of the frames from the app VM were plain, and %.1f %% of those to it", row.Name, row.PlainFrom, row.PlainTo)
		}
		if len(row.FromQueues) != row.Queues() || len(row.ToQueues) != row.Queues() {
			t.Errorf("%s: frames from and to queues %v, %v", row.Name, row.FromQueues, row.ToQueues)
		}
	}
}

func index(second bool) int {
	if second {
		return 1
	}
	return 0
}

// TestSwitch boots two app VMs behind one NIC of Intel's, which transfer at the same time. They reach each other, with and without a VLAN tag,
// unless they are isolated.
func TestSwitch(t *testing.T) {
	t.Parallel()
	for name, isolate := range map[string]bool{"open": false, "isolated": true} {
		t.Run(name, func(t *testing.T) {
			hardware := matrix.HardwarePairs(matrix.Switch)
			if isolate {
				hardware = matrix.HardwarePairs(matrix.Isolated)
			}
			cfg := shows(hardware...)
			cfg.AppVMs, cfg.Isolate, cfg.Transfer = 2, isolate, 8<<20
			if isolate {
				cfg.Transfer = 4 << 20
			}
			report := run(t, cfg)
			for _, name := range []string{"images", "vvudev", "driver VM", "app VMs", "leases", "pings", "transfers", "neighbours", "VLAN", "counters", "power off"} {
				if step := report.Step(name); step == nil || !step.OK {
					t.Errorf("step %q: %+v", name, step)
				}
			}
			if len(report.Ports) != 3 {
				text, err := json.Marshal(report.Ports)
				t.Errorf("ports: %s, %v", text, err)
			}
		})
	}
}
