package confine

import (
	"errors"
	"fmt"
	"time"
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
	// VFIO is whether it has devices opened through VFIO. It can use them, reset
	// them and unmap their memory, but neither map more nor open others.
	VFIO bool
}

// Result is what Apply could do.
type Result struct {
	// Landlock is the ABI version of the kernel's Landlock, 0 if there is none, so
	// that files are protected by the filter of system calls only: what Policy
	// names cannot be told from other files then.
	Landlock int
}

// Apply confines all threads of the process, present and future, and all its
// children. It cannot be undone. It is called once, before the first byte from a
// peer is looked at. After an error the program may be confined in part and should
// end.
func (p Policy) Apply() (Result, error) {
	_, _ = time.Now().Zone() // logs have local times: read the time zone while files can be opened
	if err := forbidPrivileges(); err != nil {
		return Result{}, err
	}
	abi, err := p.restrictFiles()
	if err != nil {
		return Result{}, fmt.Errorf("confine file access with Landlock: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return Result{}, err
	}
	if err := install(assemble(p.calls())); err != nil {
		return Result{}, err
	}
	return Result{Landlock: abi}, nil
}
