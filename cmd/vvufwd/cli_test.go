package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vvufwd": main})
}

// TestCLI plays command lines and checks messages and exit codes. exitcode runs
// a command and compares its exit code, which testscript's exec does not tell.
func TestCLI(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Condition: func(cond string) (bool, error) {
			// Machines that do have VFIO fail later, with other messages.
			_, err := os.Stat("/dev/vfio/vfio")
			return cond == "novfio" && err != nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitCode},
	})
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = err.Error() // "exit status 2"
		got = got[len("exit status "):]
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func TestPortsArePairedInOrder(t *testing.T) {
	if _, err := parseFlags([]string{"--vvu", "5.0", "--nic=0000:00:04.0"}, false, os.Stderr); err == nil {
		t.Fatal("accepted the address 5.0")
	}
	o, err := parseFlags([]string{"--vvu", "00:05.0", "--nic=0000:00:04.0", "--port", "vhost-user:/b.sock,client", "--port=virtio-net:01:00.0"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range o.ports {
		got = append(got, p.String())
	}
	want := []string{"vvu:0000:00:05.0", "nic:0000:00:04.0", "vhost-user:/b.sock", "virtio-net:0000:01:00.0"}
	if !slices.Equal(got, want) || !o.ports[2].client {
		t.Errorf("ports %v, want %v", got, want)
	}
	if o.bind {
		t.Error("binds drivers without being asked or being init")
	}
	if o, err = parseFlags([]string{"--vvu=00:05.0", "--nic=00:04.0"}, true, os.Stderr); err != nil || !o.bind {
		t.Errorf("as init functions must be bound: %v", err)
	}
}

func TestRelativeSocketsBecomeAbsolute(t *testing.T) {
	o, err := parseFlags([]string{"--vhost-user", "a.sock", "--vhost-user", "b.sock"}, false, os.Stderr)
	if err != nil || !filepath.IsAbs(o.ports[0].path) {
		t.Errorf("%v, %v", o, err)
	}
}

func TestParseCPUs(t *testing.T) {
	for in, want := range map[string][]int{"1": {1}, "1,3": {1, 3}, "0-2,5": {0, 1, 2, 5}} {
		if got, err := parseCPUs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "-1", "2-1", "1,", "0-9999", "1-"} {
		if got, err := parseCPUs(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}
