package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// A test of confinement needs a process that can be confined: TestMain builds this
// package's tests once more, without cgo, which the race detector brings in. The
// result runs with a role in its environment, plays it and exits.
const roleEnv = "VVUFWD_CONFINE_ROLE"

// role is what a process is to do.
type role struct {
	Steps  []string // of confining: policy, or single ones to see each by itself
	Policy Policy
	Act    string // one of acts
	Path   string // that the act is about
}

var probe string // the binary without cgo

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
	probe = filepath.Join(dir, "probe")
	build := exec.Command("go", "test", "-c", "-o", probe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build the probe: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command is a process with a role.
func command(t *testing.T, r role) *exec.Cmd {
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
	act, ok := acts[r.Act]
	if !ok {
		panic("nobody can " + r.Act)
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
		err = r.Policy.Apply(zap.NewNop())
	case "no_new_privs":
		err = forbidPrivileges()
	case "files":
		_, err = r.Policy.restrictFiles()
	case "capabilities":
		err = dropCapabilities()
	case "filter":
		err = install(assemble(r.Policy.calls()))
	}
	return err
}
