package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/resources"
)

// generosity is how many times the machine's memory the driver VM may share by default:
// what could be plugged into it later counts, though there is nothing behind it.
const generosity = 4

// maxMemory is how much the driver VM's monitor may share.
func (o *options) maxMemory() uint64 {
	if o.memory != 0 {
		return uint64(o.memory)
	}
	most := resources.AddressSpace() / 2
	if memory, err := resources.Memory(); err == nil {
		most = min(most, generosity*memory)
	}
	return most
}

// checkCreateRAM refuses a RAM file that could never be filled where it is: a VM that tries to
// would be killed, and others perhaps before it.
func checkCreateRAM(o options, log *zap.Logger) error {
	if o.createRAM == 0 {
		return nil
	}
	size := uint64(o.createRAM)
	room, err := roomAt(o.ram)
	if err != nil {
		return nil // there will be a better error when the file is made
	}
	if !room.bounded {
		return nil
	}
	if size > room.free+room.own {
		return fmt.Errorf("--create-ram %s: %s has room for %s: make some, or mount it with a larger size=", o.createRAM.String(), room.dir, cli.Bytes(room.free+room.own))
	}
	if size > room.free+room.own-min(room.free+room.own, room.promised) {
		log.Warn("RAM files are larger in total than the room there is; a VM that touches too much of its memory is killed",
			zap.String("directory", room.dir), zap.String("room", cli.Bytes(room.free+room.own)), zap.String("other files may grow by", cli.Bytes(room.promised)))
	}
	return nil
}

// room is what a file can grow into.
type room struct {
	dir      string
	bounded  bool
	free     uint64 // bytes that no one has
	own      uint64 // of the file, if it exists
	promised uint64 // that other files beside it have the size for, but not yet
}

// roomAt looks where a file is, or is to be.
func roomAt(path string) (r room, err error) {
	r.dir = filepath.Dir(path)
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		return r, err
	}
	// A tmpfs without a size, and hugetlbfs without one, say nothing.
	r.bounded = st.Blocks > 0
	r.free = st.Bavail * uint64(st.Bsize)
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return r, err
	}
	own, _ := os.Stat(path)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode()&fs.ModeType != 0 {
			continue
		}
		if os.SameFile(info, own) {
			r.own = allocated(info)
		} else if has := allocated(info); uint64(info.Size()) > has {
			r.promised += uint64(info.Size()) - has
		}
	}
	return r, nil
}

// allocated is what a file has of its size, in bytes.
func allocated(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Blocks) * 512
}
