package testpmd

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readRecorded reads what a real testpmd once printed.
func readRecorded(t *testing.T, name string) *output {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := new(output)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		o.add(lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestBackendOutput(t *testing.T) {
	o := readRecorded(t, "backend.txt")
	totals, ok := o.final(0)
	if !ok {
		t.Fatal("no totals")
	}
	want := Totals{
		Ports: []Counters{
			{RxPackets: 23620320, RxTotal: 23620320, TxPackets: 23614400, TxDropped: 5696, TxTotal: 23620096},
			{RxPackets: 23620096, RxTotal: 23620096, TxPackets: 23615008, TxDropped: 5312, TxTotal: 23620320},
		},
		All:    Counters{RxPackets: 47240416, RxTotal: 47240416, TxPackets: 47229408, TxDropped: 11008, TxTotal: 47240416},
		Cycles: Cycles{Total: 8237872692, Packets: 47240416, MHz: 2100},
	}
	if diff := cmp.Diff(want, totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if got := totals.Cycles.NanosecondsPerPacket(); math.Abs(got-83.04) > 0.01 {
		t.Errorf("%.2f ns per packet, want 83.04", got)
	}
	if o.version != "DPDK 22.11.11" {
		t.Errorf("version %q", o.version)
	}
}

func TestFrontendOutput(t *testing.T) {
	o := readRecorded(t, "frontend.txt")
	want := []Rates{
		{{}, {}},
		{{Rx: 5940250, Tx: 5941706}, {Rx: 5940342, Tx: 5941638}},
	}
	got := o.complete()
	if len(got) < len(want) {
		t.Fatalf("%d rates, want %d at least", len(got), len(want))
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	if _, ok := o.final(1); ok {
		t.Error("the totals of a pause are the last ones")
	}
	if totals, ok := o.final(0); !ok || totals.Cycles.Packets != 47240416 || totals.All.TxDropped != 4559008 {
		t.Errorf("totals %+v, %v", totals, ok)
	}
}

// TestIncompleteOutput reads every beginning of a real output: nothing is made
// up, and rates do not change once they have been handed out.
func TestIncompleteOutput(t *testing.T) {
	f, err := os.Open("testdata/frontend.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := new(output)
	var handed []Rates
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		o.add(lines.Text())
		got := o.complete()
		if len(got) < len(handed) || len(handed) > 0 && !cmp.Equal(handed, got[:len(handed)]) {
			t.Fatalf("rates %v became %v at %q", handed, got, lines.Text())
		}
		handed = nil
		for _, r := range got {
			handed = append(handed, append(Rates{}, r...))
		}
	}
}

// TestStrangeOutput gives lines that no testpmd prints.
func TestStrangeOutput(t *testing.T) {
	o := new(output)
	for _, line := range []string{
		"  Rx-pps:      5          Rx-bps:   6",
		"  ######################## NIC statistics for port 0  ########################",
		"  RX-packets: 1        RX-dropped: 0             RX-total: 1",
		"  ------ Forward statistics for port 99999999999999999999999 -------",
		"  ------ Forward statistics for port 4000000000 -------",
		"  RX-packets: 1        RX-dropped: 0             RX-total: 1",
		"Port statistics ====================================",
		"  ######################## NIC statistics for port 4000000000  ########################",
		"  Rx-pps:      5          Rx-bps:   6",
		"  CPU cycles/packet=nan (total cycles= / total io packets=) at  MHz Clock",
	} {
		o.add(line)
	}
	if totals, ok := o.final(0); ok || totals.All != (Counters{}) || len(totals.Ports) > 1 || totals.Cycles.NanosecondsPerPacket() != 0 {
		t.Errorf("totals %+v, %v", totals, ok)
	}
}
