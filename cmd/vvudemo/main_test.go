package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vvufwd/cmd/internal/clitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvudemo": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts checks what the command line accepts and what it says when it does not.
func TestScripts(t *testing.T) { clitest.Play(t, "testdata/script", "", nil, nil) }

func TestLimitGrowsWithTheWork(t *testing.T) {
	plain, err := parseFlags(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := parseFlags(strings.Fields("--frames 1000000 --restarts 10"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plain.limit() <= 0 || loaded.limit() <= plain.limit() {
		t.Errorf("limits: %v without load, %v with", plain.limit(), loaded.limit())
	}
	rebound, err := parseFlags(strings.Fields("--rebinds 3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if rebound.limit() <= plain.limit() {
		t.Errorf("limits: %v without load, %v with three rebinds", plain.limit(), rebound.limit())
	}
	given, err := parseFlags(strings.Fields("--timeout 90s --keep"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if given.limit().Seconds() != 90 {
		t.Errorf("--timeout 90s gives %v", given.limit())
	}
}
