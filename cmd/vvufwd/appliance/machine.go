package appliance

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// machine is the system that Setup works on: where its file systems are, and the
// system calls that change it. Tests put a directory and their own functions here.
// It is owned by one goroutine.
type machine struct {
	root string // "/"
	log  *zap.Logger

	mount       func(source, target, fstype string, flags uintptr, data string) error
	setLimit    func(resource int, limit *unix.Rlimit) error
	limit       func(resource int, limit *unix.Rlimit) error
	finitModule func(fd int, params string, flags int) error
	release     func() (string, error)
	// writeSetting writes to an existing file of /proc or /sys.
	writeSetting func(path, value string) error
	sleep        func(time.Duration)
	// findInterface and setUp are netdev.Lookup and setUp.
	findInterface func(name string) (string, error)
	setUp         func(name string, mtu int) error
}

// thisMachine is the one that we run on.
func thisMachine(log *zap.Logger) *machine {
	return &machine{
		root:         "/",
		log:          log,
		mount:        unix.Mount,
		setLimit:     unix.Setrlimit,
		limit:        unix.Getrlimit,
		finitModule:  unix.FinitModule,
		release:      kernelRelease,
		writeSetting: writeSetting,
		sleep:        time.Sleep,

		findInterface: netdev.Lookup,
		setUp:         setUp,
	}
}

// path places a path of the machine ("proc/cmdline") below its root.
func (m *machine) path(elements ...string) string {
	return filepath.Join(append([]string{m.root}, elements...)...)
}

func writeSetting(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value + "\n")
	return errors.Join(err, file.Close())
}

// kernelRelease is what `uname -r` prints; modules live in a directory of that name.
func kernelRelease() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}
