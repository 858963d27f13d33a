package load

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/vvubench/plan"
	"vvufwd/cmd/vvubench/testpmd"
)

func TestVvugenArguments(t *testing.T) {
	pairs := [][2]string{{"a", "b"}, {"c", "d"}}
	for want, job := range map[string]Job{
		"--port a --port b --cpu 1 --size 64 --duration 1s --json": {
			Case: plan.Case{Size: 64}, Pairs: pairs[:1],
		},
		"--port a --port b --port c --port d --cpu 1 --size 1518 --duration 1s --json --payload full --both": {
			Case: plan.Case{Size: 1518, Full: true, Both: true}, Pairs: pairs,
		},
		"--port a --port b --cpu 1 --size 64 --duration 1s --json --latency --rate 1234568": {
			Case: plan.Case{Size: 64, Latency: true, Rate: 1234567.8}, Pairs: pairs[:1],
		},
	} {
		job.CPU, job.Duration = 1, time.Second
		if got := strings.Join(NewVvugen("x").arguments(job), " "); got != want {
			t.Errorf("arguments\n%s, want\n%s", got, want)
		}
	}
}

func TestParseVvugen(t *testing.T) {
	recorded, err := os.ReadFile("testdata/vvugen.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseVvugen(string(recorded))
	if err != nil {
		t.Fatal(err)
	}
	want := Outcome{
		Mpps: 0.039, Gbps: 0.02, Pairs: []float64{0.02, 0.019}, Lost: 3, Idle: 0.9, Delayed: 0.01,
		Latency: &Latency{P50: 1.5, P90: 2.5, P99: 6, Max: 50},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "{}", `{"directions":[]}`, `{"mpps":"x"}`} {
		if _, err := parseVvugen(text); err == nil {
			t.Errorf("%q is a result", text)
		}
	}
	if o, err := parseVvugen(`{"mpps":1,"delayed":null,"directions":[{"lost":0,"latency_us":null}]}`); err != nil || o.Delayed != -1 || o.Latency != nil {
		t.Errorf("nothing measured: %+v, %v", o, err)
	}
}

// TestVvugenFails has to show what the generator said.
func TestVvugenFails(t *testing.T) {
	for want, text := range map[string]string{
		"vvugen: a -> b: no frame arrived": "echo sending >&2; echo 'vvugen: a -> b: no frame arrived' >&2; exit 1",
		"it should print one JSON object":  "echo sending; echo hello",
		"it has not measured latency":      `echo sending; echo sending; echo '{"directions":[{"lost":0}]}'`,
	} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		begun := false
		job := Job{Case: plan.Case{Size: 64, Latency: true}, Duration: time.Second, LogPath: filepath.Join(t.TempDir(), "log")}
		_, err := NewVvugen(program).Run(context.Background(), job, func() { begun = true })
		if err == nil || !strings.Contains(err.Error(), want) || !begun {
			t.Errorf("error %v, want %q in it; begun: %v", err, want, begun)
		}
	}
}

func TestVirtioUserOutcome(t *testing.T) {
	rates := []testpmd.Rates{{{Rx: 1e6, Tx: 5e6}, {Rx: 2e6}}, {{Rx: 3e6}, {Rx: 2e6}}}
	got := outcome(rates, testpmd.Totals{All: testpmd.Counters{RxPackets: 90, TxPackets: 100, TxDropped: 7}}, 125)
	want := Outcome{Mpps: 4, Gbps: 4, Pairs: []float64{4}, Lost: 10, Idle: -1, Delayed: -1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	if _, err := NewVirtioUser(nil).Run(context.Background(), Job{Case: plan.Case{Size: 64}}, nil); err == nil {
		t.Error("virtio-user sends one way")
	}
}
