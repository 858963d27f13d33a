package confine

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// ErrCgo says that a program has threads that Go does not know of, so that not all
// could be confined. Nothing has been changed then.
var ErrCgo = errors.New("this program was built with cgo, in which not all threads can be confined: build it with CGO_ENABLED=0")

// ErrNoSeccomp says that the kernel cannot filter system calls.
var ErrNoSeccomp = errors.New("the kernel cannot filter system calls: use one with CONFIG_SECCOMP_FILTER (Linux 4.14 or later)")

// Policy is what a program still needs once it has started, beyond moving bytes
// between the descriptors that it has and those that peers send it. Paths are of
// files that are there now or will be; their directories count as they are now,
// symbolic links resolved.
type Policy struct {
	// Listen are sockets at which it accepts peers, and which it removes at the
	// end. Anything else in their directories can be removed too.
	Listen []string
	// Connect are sockets that it connects to, again and again. Kernels whose
	// Landlock is older than ABI 9 cannot keep it from other sockets in the file
	// system.
	Connect []string
	// Write are existing files that it opens for writing, such as sysfs attributes
	// that give a device back to its driver.
	Write []string
	// VFIO is whether it has devices opened through VFIO, or is given some by another
	// process. It can use them, reset them, and map its memory for them and unmap it, but
	// open none.
	VFIO bool
	// OpenVFIO are the directories within which it opens files, to read and to write, so
	// as to open devices through VFIO: /dev/vfio and /sys. It makes no file.
	OpenVFIO []string
	// AsyncIO is whether it has set up asynchronous I/O, which it goes on using.
	AsyncIO bool
}

// Apply confines all threads of the process, present and future, and all its
// children. It cannot be undone. It is called once, before the first byte from a
// peer is looked at. The log says with how much of Landlock; a kernel without it is
// worth a warning, but no error. After an error the program may be confined in part
// and should end.
func (p Policy) Apply(log *zap.Logger) error {
	abi, err := p.apply()
	if err != nil {
		return fmt.Errorf("give up privileges: %w; or keep them with --no-confine", err)
	}
	if abi == 0 {
		log.Warn("confined, but the kernel has no Landlock, so that files which may be used cannot be told from others: boot it with lsm=landlock,…")
		return nil
	}
	log.Info("confined: no privileges are left", zap.Int("Landlock ABI", abi))
	return nil
}

// apply is Apply; it returns the ABI version of Landlock.
func (p Policy) apply() (landlockABI int, err error) {
	_, _ = time.Now().Zone() // logs have local times: read the time zone while files can be opened
	if err := forbidPrivileges(); err != nil {
		return 0, err
	}
	abi, err := p.restrictFiles()
	if err != nil {
		return 0, fmt.Errorf("confine file access with Landlock: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return 0, err
	}
	return abi, install(assemble(p.calls()))
}
