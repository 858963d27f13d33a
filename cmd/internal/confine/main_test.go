package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// A test of confinement needs a process to be confined: TestMain builds this package's
// tests once more, without the race detector, which makes system calls of its own. The
// result runs with a role in its environment, plays it and exits.
const roleEnv = "VVUFWD_CONFINE_ROLE"

// role is what a process is to do.
type role struct {
	Steps  []string // of confining: policy, or single ones to see each by itself
	Policy Policy
	Act    string // one of acts
	Path   string // that the act is about
}

// probes are the binaries, without cgo and with it; the latter is empty where there is
// no C compiler.
var probes struct{ static, cgo string }

func TestMain(m *testing.M) {
	if text := os.Getenv(roleEnv); text != "" {
		var r role
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			panic(err)
		}
		r.play()
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "confine")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	probes.static = filepath.Join(dir, "static")
	builds := map[string]string{"CGO_ENABLED=0": probes.static}
	if _, err := exec.LookPath(cCompiler()); err == nil {
		probes.cgo = filepath.Join(dir, "cgo")
		builds["CGO_ENABLED=1"] = probes.cgo
	}
	for setting, binary := range builds {
		build := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-o", binary, ".")
		build.Env = append(os.Environ(), setting)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("build the probe with %s: %v\n%s", setting, err, out)
			return 1
		}
	}
	return m.Run()
}

func cCompiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return strings.Fields(cc)[0]
	}
	return "gcc"
}

// onBoth runs a test with a probe without cgo, and with one that has it.
func onBoth(t *testing.T, test func(*testing.T, string)) {
	t.Run("static", func(t *testing.T) { test(t, probes.static) })
	t.Run("cgo", func(t *testing.T) {
		if probes.cgo == "" {
			t.Skip("no C compiler")
		}
		test(t, probes.cgo)
	})
}

// command is a process without cgo and with a role.
func command(t *testing.T, r role) *exec.Cmd { return commandOf(t, probes.static, r) }

func commandOf(t *testing.T, probe string, r role) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), probe)
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	return cmd
}

// outcome is the last line that a process with a role prints.
func outcome(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// play confines the process, acts, and prints how that went.
func (r role) play() {
	runtime.LockOSThread() // what single steps confine is this thread
	act, ok := acts[r.Act]
	if !ok {
		panic("no one can " + r.Act)
	}
	if Started() {
		r.Steps = r.Steps[slices.IndexFunc(r.Steps, func(step string) bool { return step == "policy" || step == "start" }):]
	}
	for _, step := range r.Steps {
		if err := r.confine(step); err != nil {
			fmt.Println("confine:", err)
			return
		}
	}
	switch err := act(r.Path); err {
	case nil:
		fmt.Println("done")
	default:
		fmt.Println(err)
	}
}

func (r role) confine(step string) (err error) {
	switch step {
	case "policy":
		if !Started() {
			return r.Policy.Start(os.Args, nil, nil)
		}
		runtime.UnlockOSThread() // all threads are alike
		err = r.Policy.Finish(zap.NewNop())
	case "start":
		if !Started() {
			return r.Policy.Start(os.Args, nil, nil)
		}
	case "no_new_privs":
		err = forbidPrivileges()
	case "files":
		err = r.Policy.restrictFiles()
	case "capabilities":
		err = dropCapabilities(0)
	case "filter":
		err = install(assemble(r.Policy.calls()))
	}
	return err
}
