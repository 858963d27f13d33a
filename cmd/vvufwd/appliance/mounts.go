package appliance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// fileSystem is one that the appliance wants to be mounted.
type fileSystem struct {
	kind   string
	target string // without leading slash
	flags  uintptr
	data   string
	// needs is the kernel option without which this cannot be mounted.
	needs string
	// optional ones are only warned about when they cannot be mounted.
	optional bool
}

// fileSystems in the order of mounting: /proc first, because it tells what else is
// mounted already.
var fileSystems = []fileSystem{
	{kind: "proc", target: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, needs: "CONFIG_PROC_FS"},
	{kind: "sysfs", target: "sys", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, needs: "CONFIG_SYSFS"},
	{kind: "devtmpfs", target: "dev", flags: unix.MS_NOSUID, data: "mode=0755", needs: "CONFIG_DEVTMPFS"},
	{kind: "hugetlbfs", target: "dev/hugepages", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "pagesize=2M", needs: "CONFIG_HUGETLBFS", optional: true},
}

// mountAll mounts what is not mounted yet.
func (m *machine) mountAll() error {
	for _, fs := range fileSystems {
		err := m.mountOne(fs)
		if err == nil {
			continue
		}
		err = fmt.Errorf("mount %s on /%s: %w; the kernel needs %s", fs.kind, fs.target, err, fs.needs)
		if !fs.optional {
			return err
		}
		m.log.Warn("a file system is missing", zap.Error(err))
	}
	return nil
}

func (m *machine) mountOne(fs fileSystem) error {
	// A second hugetlbfs would simply lie on top of the first. Before /proc is there
	// the list cannot be read, and nothing is in it.
	if list, err := os.Open(m.path("proc/self/mounts")); err == nil {
		found, err := isMounted(list, "/"+fs.target, fs.kind)
		_ = list.Close() // it was only read
		if found || err != nil {
			return err
		}
	}
	if err := os.MkdirAll(m.path(fs.target), 0o755); err != nil {
		return err
	}
	// proc, sysfs and devtmpfs answer EBUSY when they are there already.
	if err := m.mount(fs.kind, m.path(fs.target), fs.kind, fs.flags, fs.data); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// isMounted looks for a file system in a list in the form of /proc/self/mounts.
func isMounted(list io.Reader, target, kind string) (bool, error) {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // source, target, type, options, 0, 0
		if len(fields) >= 3 && path.Clean(fields[1]) == target && fields[2] == kind {
			return true, nil
		}
	}
	return false, lines.Err()
}
