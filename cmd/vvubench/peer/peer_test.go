package peer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStatistics(t *testing.T) {
	w, err := parseStatistics(`{"time":"2026-11-24T06:52:13Z","ports":[{"name":"a","rx_packets":900,"rx_bytes":1,"tx_packets":3,"drops":{"no_peer":3,"runt":1}},` +
		`{"name":"b","rx_packets":100,"drops":{}}],"loops":[{"cpu":0,"busy_ns":40000,"rounds":7,"busy_rounds":6},{"busy_ns":10000}]}`)
	if diff := cmp.Diff(Work{Packets: 1000, Dropped: 4, BusyNS: 50000}, w); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if w.BusyPerPacket() != 50 {
		t.Errorf("%v ns per packet, want 50", w.BusyPerPacket())
	}
	w, err = parseStatistics(`{"ports":[{"rx_packets":5}]}`)
	if err != nil || w != (Work{Packets: 5}) || w.BusyPerPacket() != 0 {
		t.Errorf("without loops: %+v, %v", w, err)
	}
	if (Work{BusyNS: 5}).BusyPerPacket() != 0 {
		t.Error("no packet has a busy time")
	}
	for _, line := range []string{"", "{", "{}", `{"ports":[]}`, `{"ports":[{"rx_packets":-1}]}`} {
		if _, err := parseStatistics(line); err == nil || !strings.Contains(err.Error(), "it should print totals as JSON") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestVvufwdArguments(t *testing.T) {
	v := Vvufwd{}
	got := strings.Join(v.arguments(Job{Pairs: [][2]string{{"a", "b"}, {"c", "d"}}, CPU: 3, ControlCPU: 1}), " ")
	const want = "--vhost-user a --vhost-user b --vhost-user c --vhost-user d --cpus 3 --idle-after -1s --stats-json"
	if got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	got = strings.Join(v.arguments(Job{Pairs: [][2]string{{"a", "b"}}, CPU: 3, Through: "tap", Interfaces: []string{"t0", "t1"}}), " ")
	if want := "--vhost-user a --port tap:t0 --queues 1 --vhost-user b --port tap:t1 --queues 1 --cpus 3 --idle-after -1s --stats-json"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got := v.arguments(Job{Switch: true, Pairs: [][2]string{{"a", "b"}}}); got[0] != "--switch" {
		t.Errorf("arguments of a switch %q", got)
	}
}

// script makes a program of a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVvufwdFails has to name what went wrong, with the program's own words.
func TestVvufwdFails(t *testing.T) {
	ctx := context.Background()
	if _, err := NewVvufwd(ctx, "old", script(t, "exit 3")); err == nil || !strings.Contains(err.Error(), "old: run ") {
		t.Errorf("a program without a version: %v", err)
	}
	for want, text := range map[string]string{
		"it ended before it listened":     "echo vvufwd: no such socket >&2; exit 1",
		"its last line of statistics is ": "trap 'echo bye; exit 0' TERM; for s in $2 $4; do : >$s; done; while :; do sleep 0.01; done",
	} {
		v, err := NewVvufwd(ctx, "old", script(t, `if [ "$1" = --version ]; then echo vvufwd 1; exit; fi; `+text))
		if err != nil {
			t.Fatal(err)
		}
		if v.Version() != "vvufwd 1" || v.Name() != "old" {
			t.Errorf("version %q, name %q", v.Version(), v.Name())
		}
		dir := t.TempDir()
		f, err := v.Start(ctx, Job{Pairs: [][2]string{{dir + "/a", dir + "/b"}}, LogPath: dir + "/log"})
		if err == nil {
			if f.PID() <= 0 {
				t.Errorf("process %d", f.PID())
			}
			_, err = f.Stop(ctx)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// A path without a slash is a file in the working directory, not a name in PATH.
func TestProgramInTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("other", []byte("#!/bin/sh\necho vvufwd of then\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	v, err := NewVvufwd(t.Context(), "other", "other")
	if err != nil || v.Version() != "vvufwd of then" || !filepath.IsAbs(v.program) {
		t.Errorf("%+v, %v", v, err)
	}
}
