package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// restrictions are what a version of Landlock can take away.
type restrictions struct{ files, network, scopes uint64 }

// What each ABI version of Landlock has brought. What is not mentioned in a
// version, above all signals (6), is left to the filter of system calls.
var landlockVersions = []struct {
	abi int
	restrictions
}{
	{1, restrictions{files: unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM}},
	{2, restrictions{files: unix.LANDLOCK_ACCESS_FS_REFER}},
	{3, restrictions{files: unix.LANDLOCK_ACCESS_FS_TRUNCATE}},
	{4, restrictions{network: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP}},
	{5, restrictions{files: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV}},
	{6, restrictions{scopes: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}},
	{9, restrictions{files: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX}},
}

// restrictionsOf is all that an ABI version can take away.
func restrictionsOf(abi int) (all restrictions) {
	for _, v := range landlockVersions {
		if v.abi <= abi {
			all.files |= v.files
			all.network |= v.network
			all.scopes |= v.scopes
		}
	}
	return all
}

// exception is access that is left, to a file or to everything in a directory.
type exception struct {
	path   string
	access uint64
}

// What Landlock calls reading a file, and reading all of a directory.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readAll  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
)

// exceptions are what the policy asks for. Files that are opened between Start and
// Finish are among them; after that it is the filter that lets none be opened, but for who
// opens devices through VFIO.
func (p Policy) exceptions() (list []exception) {
	if p.VFIO {
		// The nodes of devices come when these are bound.
		list = append(list, exception{"/sys", readAll}, exception{"/dev/vfio", readAll | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV})
	}
	for _, socket := range p.Listen {
		list = append(list, exception{filepath.Dir(socket), unix.LANDLOCK_ACCESS_FS_REMOVE_FILE})
	}
	for _, socket := range p.Connect {
		// The socket comes and goes with its owner, and so may its directory.
		list = append(list, exception{nearest(filepath.Dir(socket)), unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX})
	}
	for _, dir := range p.OpenVFIO {
		list = append(list, exception{dir, unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
			unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV})
	}
	for _, dir := range p.ReadVFIO {
		list = append(list, exception{dir, readAll})
	}
	for _, file := range p.Read {
		list = append(list, exception{file, readFile})
	}
	return list
}

// nearest is dir, or of its parents the first that exists.
func nearest(dir string) string {
	for {
		var st unix.Stat_t
		parent := filepath.Dir(dir)
		if unix.Stat(dir, &st) == nil || parent == dir {
			return dir
		}
		dir = parent
	}
}

// needs are what any program needs to be executed, and the Go run-time when it starts:
// the program, for one linked dynamically its libraries and who loads them, the time
// zone, and how many CPUs it is allotted.
func needs() ([]exception, error) {
	const execute = readFile | unix.LANDLOCK_ACCESS_FS_EXECUTE
	list := []exception{
		{"/proc/self/exe", execute}, {"/etc/ld.so.cache", readFile},
		{"/etc/localtime", readFile}, {"/usr/share/zoneinfo", readAll},
		{"/proc/self/cgroup", readFile}, {"/proc/self/mountinfo", readFile}, {"/sys/fs/cgroup", readAll}, {"/proc/self/maps", readFile},
		{"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", readFile},
	}
	// What it was loaded from now it will be loaded from again.
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("find out what the program was loaded from: %w (is /proc mounted?)", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line) // address permissions offset device inode path
		at := strings.Index(line, "/")
		if len(fields) < 6 || !strings.Contains(fields[1], "x") || at < 0 {
			continue
		}
		if path := strings.TrimSuffix(line[at:], "\n"); !seen[path] {
			seen[path] = true
			list = append(list, exception{path, execute})
		}
	}
	return list, nil
}

// noLandlock reports whether an error of landlockABI says that the kernel has none.
func noLandlock(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

// restrictFiles takes all access to files from the calling thread, but for the policy's
// exceptions and for what it takes to execute the program. Without Landlock it does
// nothing.
func (p Policy) restrictFiles() error {
	abi, err := landlockABI()
	if noLandlock(err) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := needs()
	if err != nil {
		return err
	}
	can := restrictionsOf(abi)
	ruleset, err := newRuleset(can)
	if err != nil {
		return err
	}
	defer unix.Close(ruleset)
	for _, e := range append(list, p.exceptions()...) {
		if e.access &= can.files; e.access == 0 {
			continue // not taken away in the first place
		}
		err := allowPath(ruleset, e)
		// Of files that are in no file system that one could see nothing is taken away.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBADFD) {
			return &fs.PathError{Op: "allow", Path: e.path, Err: err}
		}
	}
	return enforce(ruleset)
}
