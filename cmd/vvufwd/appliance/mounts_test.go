package appliance

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMountAll(t *testing.T) {
	m := newTestMachine(t, nil)
	if err := m.mountAll(); err != nil {
		t.Fatal(err)
	}
	want := []string{"mount proc /proc", "mount sysfs /sys", "mount devtmpfs /dev", "mount hugetlbfs /dev/hugepages"}
	if diff := cmp.Diff(want, m.calls); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	for _, dir := range []string{"proc", "sys", "dev/hugepages"} {
		if info, err := os.Stat(m.path(dir)); err != nil || !info.IsDir() {
			t.Errorf("mount point %s was not made: %v", dir, err)
		}
	}
}

func TestMountAllLeavesWhatIsThere(t *testing.T) {
	m := newTestMachine(t, map[string]string{"proc/self/mounts": `none / rootfs rw 0 0
proc /proc proc rw 0 0
dev /dev tmpfs rw 0 0
hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0
`})
	m.mountErr["sysfs"] = unix.EBUSY
	if err := m.mountAll(); err != nil {
		t.Fatal(err)
	}
	// A tmpfs on /dev is not the file system that we want there.
	want := []string{"mount sysfs /sys", "mount devtmpfs /dev"}
	if diff := cmp.Diff(want, m.calls); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if w := m.warnings(); w != "" {
		t.Errorf("warned of %s", w)
	}
}

func TestMountFailures(t *testing.T) {
	m := newTestMachine(t, nil)
	m.mountErr["hugetlbfs"] = unix.ENODEV
	if err := m.mountAll(); err != nil {
		t.Errorf("no hugetlbfs: %v, want a warning only", err)
	}
	if w := m.warnings(); !strings.Contains(w, "CONFIG_HUGETLBFS") {
		t.Errorf("warning %q does not say what is missing", w)
	}
	m = newTestMachine(t, nil)
	m.mountErr["devtmpfs"] = unix.ENODEV
	if err := m.mountAll(); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "CONFIG_DEVTMPFS") {
		t.Errorf("no devtmpfs: %v", err)
	}
}

func TestRaiseLimits(t *testing.T) {
	m := newTestMachine(t, nil)
	m.limits[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: 1024, Max: 1 << 20}
	m.limits[unix.RLIMIT_MEMLOCK] = unix.Rlimit{Cur: 8 << 20, Max: 8 << 20}
	m.raiseLimits()
	want := map[int]unix.Rlimit{
		unix.RLIMIT_NOFILE:  {Cur: openFiles, Max: 1 << 20}, // more is not taken away
		unix.RLIMIT_MEMLOCK: {Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY},
	}
	if diff := cmp.Diff(want, m.limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	m.setLimit = func(int, *unix.Rlimit) error { return unix.EPERM }
	m.raiseLimits()
	if w := m.warnings(); strings.Count(w, "operation not permitted") != 2 {
		t.Errorf("warnings %q, want one for each limit", w)
	}
}
