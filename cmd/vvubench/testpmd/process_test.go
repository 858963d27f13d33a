package testpmd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script makes a program of a shell script.
func script(t *testing.T, text string) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := Find(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testConfig(t *testing.T) Config {
	return Config{Name: "peer", Ports: []Port{Vhost{Socket: "a"}}, Mode: "io", ControlCPU: 1, LogPath: filepath.Join(t.TempDir(), "log")}
}

// TestProcess runs a program that prints what a real testpmd printed, the totals
// only when it is told to end.
func TestProcess(t *testing.T) {
	recorded, err := filepath.Abs("testdata/backend.txt")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(context.Background(), script(t, `
trap 'sed -n "/^Telling cores/,\$p" `+recorded+`; exit 0' TERM
sed "/^Telling cores/,\$d" `+recorded+`
while :; do sleep 0.01; done
`), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Version() != "DPDK 22.11.11" || len(p.Rates()) != 0 {
		t.Errorf("version %q, rates %v", p.Version(), p.Rates())
	}
	totals, err := p.Stop(context.Background())
	if err != nil || totals.All.RxPackets != 47240416 {
		t.Errorf("totals %+v, %v", totals, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestProcessFails(t *testing.T) {
	ctx := context.Background()
	_, err := Start(ctx, script(t, "echo EAL: no memory; exit 1"), testConfig(t))
	if err == nil || !strings.Contains(err.Error(), "peer: it ended (exit status 1) before forwarding") || !strings.Contains(err.Error(), "EAL: no memory") {
		t.Errorf("a program that ends at once: %v", err)
	}
	p, err := Start(ctx, script(t, "trap 'exit 0' TERM; echo start packet forwarding; while :; do sleep 0.01; done"), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Stop(ctx); err == nil || !strings.Contains(err.Error(), "it ended without totals") {
		t.Errorf("a program without totals: %v", err)
	}
}

// TestCommands plays a testpmd that echoes what it is told when it comes to it, and prints nothing else.
func TestCommands(t *testing.T) {
	ctx, cfg := t.Context(), testConfig(t)
	cfg.Commands = true
	dir := t.TempDir()
	p, err := Start(ctx, script(t, `cd `+dir+`
while read -r line; do
	printf 'testpmd> %s\r\n' "$line"
	case $line in
	stop|start) sleep 0.2; echo "$line" >>carried-out ;;
	esac
done
`), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	carriedOut := func(want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, "carried-out"))
		if err != nil || string(got) != want {
			t.Errorf("carried out: %q, %v, want %q", got, err, want)
		}
	}
	if err := p.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	carriedOut("stop\n")
	if err := p.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	carriedOut("stop\nstart\n")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Pause(ctx); err == nil || !strings.Contains(err.Error(), "peer: ") {
		t.Errorf("after its end: %v", err)
	}
}
