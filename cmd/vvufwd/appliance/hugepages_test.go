package appliance

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReserveHugePages(t *testing.T) {
	const enough = "MemTotal: 500000 kB\nMemAvailable: 400000 kB\n"
	for _, test := range []struct {
		name    string
		n       int
		before  string
		meminfo string
		after   string
		warning string
	}{
		{name: "as asked for", n: 16, before: "0\n", meminfo: enough, after: "16\n"},
		{name: "a bigger pool stays", n: 16, before: "64\n", meminfo: enough, after: "64\n"},
		{name: "nothing asked for", n: 0, before: "3\n", meminfo: enough, after: "3\n"},
		// 40 MiB available, 32 of them kept: 4 pages.
		{name: "little memory", n: 16, before: "0\n", meminfo: "MemAvailable: 40960 kB\n", after: "4\n", warning: "fewer huge pages"},
		{name: "what is reserved counts on top", n: 16, before: "12\n", meminfo: "MemAvailable: 40960 kB\n", after: "16\n"},
		{name: "no memory", n: 16, before: "0\n", meminfo: "MemAvailable: 20000 kB\n", after: "0\n", warning: "4 KiB pages: give the virtual machine more memory"},
		{name: "an odd meminfo", n: 16, before: "0\n", meminfo: "MemTotal: 500000 kB\n", after: "16\n", warning: "has no line MemAvailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newTestMachine(t, map[string]string{hugePageCounter: test.before, "proc/meminfo": test.meminfo})
			m.reserveHugePages(test.n)
			if got := m.read(hugePageCounter); got != test.after {
				t.Errorf("the pool has %q pages, want %q", got, test.after)
			}
			if w := m.warnings(); (test.warning == "") != (w == "") || !strings.Contains(w, test.warning) {
				t.Errorf("warning %q, want %q", w, test.warning)
			}
		})
	}
}

func TestNoHugePages(t *testing.T) {
	m := newTestMachine(t, nil)
	m.reserveHugePages(4)
	if w := m.warnings(); !strings.Contains(w, "CONFIG_HUGETLBFS") {
		t.Errorf("warning %q does not say what is missing", w)
	}
}

func TestKernelGivesFewerHugePages(t *testing.T) {
	m := newTestMachine(t, map[string]string{hugePageCounter: "2\n", "proc/meminfo": "MemAvailable: 400000 kB\n"})
	asked := ""
	m.writeSetting = func(path, value string) error {
		asked = value
		return os.WriteFile(path, []byte("5\n"), 0o644) // memory is in pieces
	}
	m.reserveHugePages(8)
	if asked != "8" {
		t.Errorf("asked the kernel for %q pages, want 8", asked)
	}
	if w := m.warnings(); !strings.Contains(w, "fewer huge pages") {
		t.Errorf("warning %q, want one of fewer pages", w)
	}
	fields := m.logs.All()[m.logs.Len()-1].ContextMap()
	if fields["wanted"] != int64(8) || fields["reserved"] != int64(5) {
		t.Errorf("the warning has the fields %v", fields)
	}
}

// A kernel that a signal has stopped after each page is asked for the others.
func TestHugePagesOneByOne(t *testing.T) {
	m := newTestMachine(t, map[string]string{hugePageCounter: "2\n", "proc/meminfo": "MemAvailable: 400000 kB\n"})
	have := 2
	m.writeSetting = func(path, value string) error {
		have++
		return os.WriteFile(path, fmt.Appendln(nil, have), 0o644)
	}
	m.reserveHugePages(16)
	if w := m.warnings(); have != 16 || w != "" {
		t.Errorf("%d pages, warning %q", have, w)
	}
}
