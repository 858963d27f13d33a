package confine

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

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
	// Accept is whether it accepts peers at other listeners, which were opened before Start.
	Accept bool
	// Connect are sockets that it connects to, again and again. Kernels whose
	// Landlock is older than ABI 9 cannot keep it from other sockets in the file
	// system.
	Connect []string
	// Read are files that it reads between Start and Finish.
	Read []string
	// VFIO is whether it opens devices through VFIO between Start and Finish, or is given
	// some by another process. After that it can use them, reset them, and map its memory
	// for them and unmap it, but open none.
	VFIO bool
	// OpenVFIO are the directories within which it opens files, to read and to write, so
	// as to open devices through VFIO: /dev/vfio, and parts of /sys. It makes no file. No program without
	// opens a file after Finish.
	OpenVFIO []string
	// ReadVFIO are the directories within which it reads files so as to do that, beside OpenVFIO.
	ReadVFIO []string
	// AsyncIO is whether it sets up asynchronous I/O before Finish, and uses it from then on.
	AsyncIO bool
	// SocketPairs is whether it makes sockets that are connected to each other and to no one
	// else, after Finish too.
	SocketPairs bool
	// TAP is whether it uses TAP devices that were opened before Start. It can look after them, and
	// attach those descriptors again to devices that it may use without a capability.
	TAP bool
	// PacketSockets is whether it uses packet sockets that were opened before Start. It can bind
	// them anew, so as to follow an interface that comes back.
	PacketSockets bool
	// RawIO is whether it opens devices that no IOMMU confines, which takes
	// CAP_SYS_RAWIO. It keeps that capability, if it has it, for good.
	RawIO bool
	// XDP is whether it uses AF_XDP sockets that were opened before Start.
	XDP bool
	// OpenXDP is whether it opens such sockets after Finish, and programs that give them frames. It
	// keeps CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK, if it has them, for good.
	OpenXDP bool
	// SetUpInterfaces is whether it sets network interfaces, and their MTUs, up through a socket that was
	// made before Finish. It keeps CAP_NET_ADMIN, if it has it, for good.
	SetUpInterfaces bool
}

// Finish takes what was left for opening ports, from all threads of the process, present
// and future. It is called once, in a process that Start has made, before the first
// byte from a peer is looked at. The log says with how much of Landlock; a kernel
// without it is worth a warning, but no error. After an error the program should end.
func (p Policy) Finish(log *zap.Logger) error {
	abi, err := p.finish()
	if err != nil {
		return failure(err)
	}
	if abi == 0 {
		log.Warn("confined, but the kernel has no Landlock, so that files which may be used cannot be told from others: boot it with lsm=landlock,…")
		return nil
	}
	log.Info("confined: no privileges are left", zap.Int("Landlock ABI", abi))
	return nil
}

// failure says what to do. What takes no privilege is refused all the same where someone else has a filter in front of it.
func failure(err error) error {
	hint := ""
	if errors.Is(err, unix.EPERM) {
		hint = "a container's or a service's filter of system calls may have to let landlock_create_ruleset, landlock_add_rule, landlock_restrict_self and seccomp pass; "
	}
	return fmt.Errorf("give up privileges: %w; %sto keep them, use --no-confine", err, hint)
}

// finish is Finish; it returns the ABI version of Landlock.
func (p Policy) finish() (landlock int, err error) {
	_, _ = time.Now().Zone() // logs have local times: read the time zone while files can be opened
	if err := checkStarted(p.capabilities()); err != nil {
		return 0, err
	}
	landlock, err = landlockABI()
	if noLandlock(err) {
		landlock, err = 0, nil
	}
	if err != nil {
		return 0, err
	}
	return landlock, install(assemble(p.calls()))
}

// capabilities are those that are kept.
func (p Policy) capabilities() (kept uint64) {
	if p.RawIO {
		kept |= 1 << unix.CAP_SYS_RAWIO
	}
	if p.SetUpInterfaces {
		kept |= 1 << unix.CAP_NET_ADMIN
	}
	if p.OpenXDP {
		kept |= 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_BPF | 1<<unix.CAP_IPC_LOCK
	}
	return kept
}

// checkStarted makes sure that it was Start that made this process.
// kept are capabilities that may be left.
func checkStarted(kept uint64) error {
	if !Started() {
		return errors.New("not started for it")
	}
	const get = unix.PR_GET_NO_NEW_PRIVS
	if set, err := unix.PrctlRetInt(get, 0, 0, 0, 0); err != nil || set != 1 {
		return fmt.Errorf("new privileges are possible (%d, %w)", set, err)
	}
	left, err := capabilities()
	if left &^= kept; err == nil && left != 0 {
		err = fmt.Errorf("capabilities %#x are left", left)
	}
	return err
}
