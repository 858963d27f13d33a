package appliance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// testMachine is a machine in a directory, whose kernel notes what is done to it.
type testMachine struct {
	*machine
	t     *testing.T
	logs  *observer.ObservedLogs
	calls []string // "mount proc /proc", "load vfio.ko [parameters]", in order
	slept time.Duration

	mountErr map[string]error // by type of file system
	loadErr  map[string]error // by file name
	// onLoad stands for what a module does when it is loaded.
	onLoad map[string]func()
	// flags of the last load, by file name.
	flags  map[string]int
	limits map[int]unix.Rlimit
}

const testRelease = "6.1.0-test"

func newTestMachine(t *testing.T, files map[string]string) *testMachine {
	core, logs := observer.New(zapcore.DebugLevel)
	m := &testMachine{
		t: t, logs: logs,
		mountErr: make(map[string]error), loadErr: make(map[string]error),
		onLoad: make(map[string]func()), flags: make(map[string]int), limits: make(map[int]unix.Rlimit),
	}
	root := t.TempDir()
	m.machine = &machine{
		root: root,
		log:  zap.New(core),
		mount: func(_, target, kind string, _ uintptr, _ string) error {
			m.calls = append(m.calls, "mount "+kind+" "+strings.TrimPrefix(target, root))
			return m.mountErr[kind]
		},
		limit:    func(r int, l *unix.Rlimit) error { *l = m.limits[r]; return nil },
		setLimit: func(r int, l *unix.Rlimit) error { m.limits[r] = *l; return nil },
		finitModule: func(fd int, params string, flags int) error {
			name := m.nameOf(fd)
			m.calls = append(m.calls, strings.TrimSpace("load "+name+" "+params))
			m.flags[name] = flags
			if f := m.onLoad[name]; f != nil {
				f()
			}
			return m.loadErr[name]
		},
		release:      func() (string, error) { return testRelease, nil },
		writeSetting: writeSetting,
		sleep:        func(d time.Duration) { m.slept += d },
	}
	for name, content := range files {
		m.write(name, content)
	}
	return m
}

func (m *testMachine) nameOf(fd int) string {
	path, err := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
	if err != nil {
		m.t.Errorf("a module is loaded from no open file: %v", err)
	}
	return filepath.Base(path)
}

func (m *testMachine) write(name, content string) {
	m.t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *testMachine) read(name string) string {
	m.t.Helper()
	content, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(content)
}

// warnings are the texts of what was logged as such, with the errors in them.
func (m *testMachine) warnings() string {
	var text []string
	for _, entry := range m.logs.FilterLevelExact(zapcore.WarnLevel).All() {
		line := entry.Message
		if err, ok := entry.ContextMap()["error"].(string); ok {
			line += ": " + err
		}
		text = append(text, line)
	}
	return strings.Join(text, "\n")
}
