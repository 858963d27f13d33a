package rates

import (
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/internal/pktgen"
)

func example(name string, factor float64) *Report {
	r := &Report{OK: true, Setup: Setup{Name: name, Device: "vvudev", DriverQEMU: "11.1", AppQEMU: "11.1", Kernel: "6.1", Time: 3}}
	for _, s := range []struct {
		sizes string
		bytes float64
	}{{"60", 60}, {"1514", 1514}, {"imix", 357.8}} {
		way := func(rate float64, lost uint64) *Way {
			w := &Way{
				Offered: 1000, OfferedRate: rate, Arrived: 1000 - lost, ArrivedRate: rate * factor, Lost: lost, Delay: pktgen.Delay{Least: 900, P50: 10, P99: 77},
				Stages: []Stage{{Name: "generator", Frames: 1000}, {Name: "vvufwd", Frames: 1000 - lost, Drops: map[string]uint64{}}, {Name: "receiver", Frames: 1000 - lost}},
			}
			if lost > 0 {
				w.Stages[1].Drops["no_room"] = lost
			}
			w.Fill()
			return w
		}
		r.Rows = append(r.Rows,
			Row{Sizes: s.sizes, Bytes: s.bytes, Load: Out, Out: way(40000, 0)}, Row{Sizes: s.sizes, Bytes: s.bytes, Load: In, In: way(20000, 5)},
			Row{Sizes: s.sizes, Bytes: s.bytes, Load: Both, Out: way(15000, 0), In: way(14000, 0)},
			Row{Sizes: s.sizes, Bytes: s.bytes, Load: Light, Out: way(1500, 0), In: way(1400, 0), RoundTrip: 1800})
	}
	return r
}

func TestTable(t *testing.T) {
	var text strings.Builder
	if err := (Table{example("vvufwd", 1), []*Report{example("testpmd & co", 0.8)}}).WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"60 out app VM to NIC 40000 40000 19.2 1000 1000 0 0",
		`lost of 60 bytes, in, NIC to app VM: 5 did not reach "vvufwd", which dropped no_room 5`,
		"60 app VM to NIC 1500 0 0 10 0 77 0 1800", `beside "testpmd & co"`, "1.25",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	text.Reset()
	r := example("vvufwd", 1)
	r.Rows = r.Rows[:1]
	if err := (Table{Report: r}).WriteTable(&text); err != nil || !strings.Contains(text.String(), "No frame was lost") {
		t.Errorf("without a loss: %v\n%s", err, text.String())
	}
}

func TestSaveAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	want := example("vvufwd", 1)
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Rows { // what is empty is left out
		for _, w := range []*Way{want.Rows[i].Out, want.Rows[i].In} {
			if w != nil && len(w.Stages[1].Drops) == 0 {
				w.Stages[1].Drops = nil
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := (&Report{}).Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "no measurement") {
		t.Errorf("an empty report: %v", err)
	}
}

// The plot is XML with a line for each load and way, within its frame.
func TestPlot(t *testing.T) {
	var text strings.Builder
	if err := (Table{example("a <b>", 1), []*Report{example("c", 0.5)}}).WritePlot(&text); err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	dashed := 0
	for d := xml.NewDecoder(strings.NewReader(text.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
			if e.Name.Local == "polyline" && len(e.Attr) > 4 {
				dashed++
			}
		}
	}
	// Two sizes a line, and a mix.
	if elements["svg"] != 1 || elements["polyline"] != 8 || dashed != 4 || elements["circle"] != 16 || elements["rect"] != 9 {
		t.Errorf("elements %v, %d dashed", elements, dashed)
	}
	if strings.Contains(text.String(), "NaN") || strings.Contains(text.String(), "Inf") {
		t.Error("a place is no number")
	}
	if err := (Table{Report: &Report{}}).WritePlot(&text); err != nil {
		t.Error(err)
	}
}

func TestGridStep(t *testing.T) {
	for least, want := range map[float64]float64{0: 1, 0.7: 1, 1: 1, 3: 5, 6: 10, 8200: 10000, 1500: 2000} {
		if got := gridStep(least); got != want {
			t.Errorf("%g: %g, want %g", least, got, want)
		}
	}
}
