package plan

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ids(cases []Case) (ids []string) {
	for _, c := range cases {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestDefault(t *testing.T) {
	want := map[string]string{
		"64-one": "64 B one way", "64-both": "64 B both ways",
		"256-one": "256 B one way", "256-both": "256 B both ways",
		"1518-one": "1518 B one way", "1518-both": "1518 B both ways",
		"1518-full-one": "1518 B full one way", "1518-full-both": "1518 B full both ways",
		"64-both-4-pairs": "64 B both ways, 4 pairs", "64-both-16-pairs": "64 B both ways, 16 pairs",
		"64-both-packed": "64 B both ways, packed rings", "1518-both-packed": "1518 B both ways, packed rings",
		"packet-64-one": "64 B one way, through packet", "packet-64-both": "64 B both ways, through packet",
		"packet-1518-one": "1518 B one way, through packet", "packet-1518-both": "1518 B both ways, through packet",
		"xdp-64-one": "64 B one way, through xdp", "xdp-64-both": "64 B both ways, through xdp",
		"xdp-1518-one": "1518 B one way, through xdp", "xdp-1518-both": "1518 B both ways, through xdp",
		"tap-64-one": "64 B one way, through tap", "tap-64-both": "64 B both ways, through tap",
		"tap-1518-one": "1518 B one way, through tap", "tap-1518-both": "1518 B both ways, through tap",
		"64-both-switch":      "64 B both ways, as a switch",
		"64-both-virtio-user": "64 B both ways, virtio-user",
		"latency-10k":         "64 B one way at 10 kpps", "latency-half": "64 B one way at half load",
	}
	got := map[string]string{}
	for _, c := range Default() {
		got[c.ID] = c.String()
		if c.Size < 64 || c.Pairs < 1 || c.Latency != (c.Rate > 0 || c.HalfOf != "") {
			t.Errorf("case %+v", c)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
}

func TestSelect(t *testing.T) {
	for only, want := range map[string][]string{
		"pairs":        {"64-both-4-pairs", "64-both-16-pairs"},
		"^1518-full":   {"1518-full-one", "1518-full-both"},
		"half|^64-one": {"64-one", "latency-half"},
		"half":         {"64-one", "latency-half"}, // needs the other
		"nothing":      nil,
		"":             ids(Default()),
	} {
		if diff := cmp.Diff(want, ids(Select(Default(), regexp.MustCompile(only)))); diff != "" {
			t.Errorf("--only %q (-want +got):\n%s", only, diff)
		}
	}
}

// TestStages checks that whatever a case depends on is measured in an earlier
// stage, and that nothing is left out.
func TestStages(t *testing.T) {
	var done []string
	for _, stage := range Stages(Default()) {
		for _, c := range stage {
			if c.HalfOf != "" && !slices.Contains(done, c.HalfOf) {
				t.Errorf("%s comes before %s", c.ID, c.HalfOf)
			}
		}
		done = append(done, ids(stage)...)
	}
	if len(done) != len(Default()) {
		t.Errorf("stages hold %v", done)
	}
	if Stages(nil) != nil {
		t.Error("nothing has stages")
	}
}
