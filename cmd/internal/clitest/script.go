package clitest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type words = map[string]func(*testscript.TestScript, bool, []string)

// Play plays the scripts of a directory, which know the words of this package besides
// testscript's and their own:
//
//	exitcode CODE COMMAND ARGS…   run a command and compare its exit code, which exec does not tell
//	await FILE TEXT               wait until a file holds a text
//	appear FILE…                  wait until there are files; with "!", until they are gone
//	[!] threads FIELD VALUE       compare a field of /proc/…/status of all threads of the command started last
//
// Programs are looked for in the directory programs first, unless that is empty.
func Play(t *testing.T, dir, programs string, own words, condition func(string) (bool, error)) {
	t.Helper()
	p := testscript.Params{Dir: dir, RequireExplicitExec: true, Condition: condition, Cmds: words{
		"exitcode": exitCode, "await": await, "appear": appear, "threads": threads,
	}}
	for name, f := range own {
		p.Cmds[name] = f
	}
	if programs != "" {
		p.Setup = func(env *testscript.Env) error {
			env.Setenv("PATH", programs+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("SOAKTIME", os.Getenv("SOAKTIME")) // the long form is wanted
			return nil
		}
	}
	testscript.Run(t, p)
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND ARGS…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// patience is how long await and appear wait.
const patience = 30 * time.Second

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	var text []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s has no %q within %v: %s", args[0], args[1], patience, text)
}

func appear(ts *testscript.TestScript, neg bool, args []string) {
	for _, path := range args {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(ts.MkAbs(path)); (err != nil) == neg {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s: nothing happened within %v", path, patience)
			}
		}
	}
}

func threads(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] threads FIELD VALUE")
	}
	running := ts.BackgroundCmds()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", running[len(running)-1].Process.Pid))
	ts.Check(err)
	if len(files) < 2 {
		ts.Fatalf("%d threads", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		ts.Check(err)
		if strings.Contains(string(text), "\n"+args[0]+":\t"+args[1]+"\n") == neg {
			ts.Fatalf("%s: %s %s: %s", file, args[0], args[1], text)
		}
	}
}
