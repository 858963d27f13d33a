package confine

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidPrivileges sets no_new_privs in the calling thread: set-user-ID programs and
// file capabilities have no effect any more. Landlock and seccomp ask for it.
func forbidPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return nil
}

// dropCapabilities empties all five sets of the calling thread, but for those of kept that it
// has, which a program that it executes has too. The bounding set matters
// only to programs that are executed; who may not shrink it does not get more than
// there is in the others, because of no_new_privs.
func dropCapabilities(kept uint64) error {
	for capability := uintptr(0); ; capability++ {
		if kept&(1<<capability) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			break // the kernel has no more, or we have no right to
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", capability, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // Pid 0: the calling thread
	has, err := capabilities()
	if err != nil {
		return err
	}
	kept &= has
	var sets [2]unix.CapUserData
	for i := range sets {
		word := uint32(kept >> (32 * i))
		sets[i] = unix.CapUserData{Effective: word, Permitted: word, Inheritable: word}
	}
	if err := unix.Capset(&head, &sets[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	for capability := uintptr(0); capability < 64; capability++ {
		if kept&(1<<capability) == 0 {
			continue
		}
		// Who is not root executes nothing with a capability that is not in this set.
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, capability, 0, 0); err != nil {
			return fmt.Errorf("keep capability %d: %w", capability, err)
		}
	}
	return nil
}

// capabilities are those that the calling thread has or can get: the permitted set.
func capabilities() (uint64, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(sets[1].Permitted)<<32 | uint64(sets[0].Permitted), nil
}

// deathSignal is what the calling thread gets when its parent dies, 0 for nothing.
func deathSignal() unix.Signal {
	var signal int32
	_ = unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0)
	return unix.Signal(signal)
}

// threadName is the name of the calling thread.
func threadName() string {
	var b [16]byte // TASK_COMM_LEN
	_ = unix.Prctl(unix.PR_GET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
	return unix.ByteSliceToString(b[:])
}

// nameThread sets the name of the calling thread. A failure is not worth a word.
func nameThread(name string) {
	b := append([]byte(name), 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
}
