package confine

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidPrivileges sets no_new_privs in all threads: set-user-ID programs and file
// capabilities have no effect any more. Landlock and seccomp ask for it.
func forbidPrivileges() error {
	err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	switch {
	case errors.Is(err, syscall.ENOTSUP):
		return ErrCgo
	case err != nil:
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return nil
}

// dropCapabilities empties all five sets of all threads. The bounding set matters
// only to programs that are executed; who may not shrink it may not execute any
// with more than nothing either, because of no_new_privs.
func dropCapabilities() error {
	for capability := uintptr(0); ; capability++ {
		err := everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			break // the kernel has no more, or we have no right to
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", capability, err)
		}
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // Pid 0: the calling thread
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// everyThread makes a system call with two arguments, the others being zero, on
// every thread.
func everyThread(call, arg1, arg2 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(call, arg1, arg2, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
