package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/internal/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vvuctl": main})
}

// TestCLI plays command lines and checks messages and exit codes. What a vvufwd answers is tested with that.
func TestCLI(t *testing.T) { clitest.Play(t, "testdata", "", nil, nil) }

// Every answer has a table, and whatever is in it, it is text.
func TestTables(t *testing.T) {
	no, n := false, uint64(7)
	for _, c := range []struct {
		do   string
		data any
		want string
	}{
		{control.Ports, []control.Port{{Name: "a", Kind: "guest", With: "b", Pairs: 8, Used: 2, Address: "52:54:00:00:00:01", Isolated: true}}, "a     guest  b     2       8   mac=52:54:00:00:00:01,isolate\n"},
		{control.Links, []control.Link{{Name: "a", Kind: "nic", Returns: &n, Why: "w"}, {Name: "b", Up: true}}, "a     nic   down  7        w\n"},
		{control.Switch, control.Bridge{Ports: []control.Port{{Name: "a", Kind: "nic", Uplink: true}}, Floods: 5}, "floods             5\n"},
		{control.Captures, []control.Capture{{Port: "a", File: "f", On: true, Reader: &no, SnapLen: 60, Frames: 3}, {Port: "b", Ended: "no space"}}, "a     f     on, no reader    3       0       60       -\n"},
		{control.LogLevel, control.Level{Level: "info"}, "info\n"}, {control.Version, "vvufwd 1", "vvufwd 1\n"}, {control.Metrics, "x 1\n", "x 1\n"},
		{control.Version, "\x1b[2Jevil\u009b\x7f\t\a", "\uFFFD[2Jevil\uFFFD\uFFFD\uFFFD\uFFFD\n"},
		{control.Links, []control.Link{{Name: "\x1b[31m"}}, "\uFFFD[31m"},
	} {
		data, err := json.Marshal(c.data)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := show(control.Request{Do: c.do}, data, cleaner{&out}); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v, %q, want %q", c.do, err, &out, c.want)
		}
		if err := show(control.Request{Do: c.do}, []byte(`true`), &out); err == nil || !strings.Contains(err.Error(), "not understood") {
			t.Errorf("%s: what is no answer: %v", c.do, err)
		}
	}
}
