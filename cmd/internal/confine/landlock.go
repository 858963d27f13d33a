package confine

import (
	"errors"
	"io/fs"
	"path/filepath"

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

// exceptions are what the policy asks for.
func (p Policy) exceptions() (list []exception) {
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
	for _, file := range p.Write {
		list = append(list, exception{file, unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE})
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

// restrictFiles takes all access to files from all threads, but for the policy's
// exceptions, and returns the ABI version of Landlock. Without Landlock (0) it does
// nothing.
func (p Policy) restrictFiles() (abi int, err error) {
	abi, err = landlockABI()
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	can := restrictionsOf(abi)
	ruleset, err := newRuleset(can)
	if err != nil {
		return 0, err
	}
	defer unix.Close(ruleset)
	for _, e := range p.exceptions() {
		if e.access &= can.files; e.access == 0 {
			continue // not taken away in the first place
		}
		if err := allowPath(ruleset, e); err != nil {
			return 0, &fs.PathError{Op: "allow", Path: e.path, Err: err}
		}
	}
	return abi, everyThread(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0)
}
