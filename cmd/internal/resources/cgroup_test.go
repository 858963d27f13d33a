package resources

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupMemory(t *testing.T) {
	const v1 = "12:memory:/old\n1:name=systemd:/old\n"
	for name, tc := range map[string]struct {
		self  string
		files map[string]string // memory.max by group
		want  uint64
		ok    bool
	}{
		"no control groups":  {"", nil, 0, false},
		"version 1 only":     {v1, map[string]string{"old": "5\n"}, 0, false},
		"the root":           {"0::/\n", map[string]string{"": "5\n"}, 0, false},
		"not limited":        {"0::/a/b\n", map[string]string{"a": "max\n", "a/b": "max\n"}, 0, false},
		"limited":            {v1 + "0::/a/b\n", map[string]string{"a": "max\n", "a/b": "4096\n"}, 4096, true},
		"limited above":      {"0::/a/b\n", map[string]string{"a": "4096\n", "a/b": "8192\n"}, 4096, true},
		"limited by nothing": {"0::/a/b\n", map[string]string{"a/b": "0\n"}, 0, true},
		"without controller": {"0::/a/b/c\n", map[string]string{"a": "4096\n"}, 4096, true},
		"outside":            {"0::/../a\n", map[string]string{"a": "4096\n"}, 4096, true},
	} {
		root := t.TempDir()
		write := func(path, text string) {
			t.Helper()
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if tc.self != "" {
			write("proc/self/cgroup", tc.self)
		}
		for group, text := range tc.files {
			write(filepath.Join("sys/fs/cgroup", group, "memory.max"), text)
		}
		if got, ok := cgroupMemory(root); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, ok, tc.want, tc.ok)
		}
	}
	CgroupMemory()
}
