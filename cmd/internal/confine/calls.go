package confine

import (
	"os"

	"golang.org/x/sys/unix"
)

// call is a system call that is allowed, if all conditions hold. A call that is
// listed twice is allowed if either is.
type call struct {
	number uint32
	when   []condition
}

// condition is about the low 32 bits of an argument: all of those tested here are
// int or unsigned int for the kernel, or flags whose upper half is unused.
type condition struct {
	arg         int // 0 to 5
	mask, value uint32
}

const all = ^uint32(0)

// is is the condition that an argument has a value.
func is(arg int, value uint32) condition { return condition{arg, all, value} }

// without is the condition that an argument has none of some bits.
func without(arg int, bits uint32) condition { return condition{arg, bits, 0} }

// Flags of clone(2): of a new thread, and of new namespaces.
const (
	threadFlags    = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

// Requests to VFIO that using, resetting and closing a device takes, and taking one over
// that another process has opened: VFIO_DEVICE_GET_INFO, GET_REGION_INFO, GET_IRQ_INFO,
// SET_IRQS and RESET, VFIO_IOMMU_GET_INFO, MAP_DMA and UNMAP_DMA. (GET_INFO of the IOMMU has
// the number of another request, to a device, which exists for hot resets.)
// And those that take a device that has a file of its own: VFIO_DEVICE_BIND_IOMMUFD and
// ATTACH_IOMMUFD_PT, IOMMU_IOAS_ALLOC, IOVA_RANGES, MAP and UNMAP.
var useVFIO = []uint32{vfioBase + 7, vfioBase + 8, vfioBase + 9, vfioBase + 10, vfioBase + 11, vfioBase + 12, vfioBase + 13, vfioBase + 14,
	vfioBase + 18, vfioBase + 19, iommufdBase + 1, iommufdBase + 4, iommufdBase + 5, iommufdBase + 6}

// Requests that opening a device takes: VFIO_CHECK_EXTENSION, SET_IOMMU,
// VFIO_GROUP_GET_STATUS, SET_CONTAINER and GET_DEVICE_FD, VFIO_IOMMU_GET_INFO. And
// VFIO_DEVICE_GET_REGION_INFO, which tells where configuration space is, to stop it there.
var openVFIO = []uint32{vfioBase + 1, vfioBase + 2, vfioBase + 3, vfioBase + 4, vfioBase + 6, vfioBase + 8, vfioBase + 12}

// Requests to interfaces, for their state and names.
var askInterface = []uint32{unix.SIOCGIFFLAGS, unix.SIOCGIFMTU, unix.SIOCGIFINDEX, unix.SIOCGIFNAME}

// Requests to interfaces that have AF_XDP sockets. What ethtool can change takes a capability.
var askXDP = append([]uint32{unix.SIOCETHTOOL, unix.SIOCGIFHWADDR}, askInterface...)

// xdpCalls are those by which the kernel is told to look at the rings of such a socket: nothing is
// passed, and no one is named.
var xdpCalls = []call{
	{unix.SYS_SENDTO, []condition{is(argMessageLen, 0), is(argPeerLen, 0)}},
	{unix.SYS_RECVFROM, []condition{is(argMessageLen, 0)}},
	{unix.SYS_BIND, []condition{is(argAddressLen, unix.SizeofSockaddrXDP)}}, // one that another process has opened
}

// openXDPCalls are those that opening one takes, with its program.
var openXDPCalls = append(
	anytime(unix.SYS_BPF, unix.SYS_MEMFD_CREATE, unix.SYS_FTRUNCATE, unix.SYS_BIND, unix.SYS_SETSOCKOPT, unix.SYS_SENDTO, unix.SYS_RECVFROM),
	call{unix.SYS_SOCKET, []condition{is(0, unix.AF_XDP)}},
	call{unix.SYS_SOCKET, []condition{is(0, unix.AF_PACKET)}},
	call{unix.SYS_SOCKET, []condition{is(0, unix.AF_NETLINK)}},
	call{unix.SYS_SOCKET, []condition{is(0, unix.AF_UNIX)}},
)

// packetCalls are those on packet sockets.
var packetCalls = append(
	anytime(unix.SYS_RECVMMSG, unix.SYS_SENDMMSG),
	call{unix.SYS_BIND, []condition{is(argAddressLen, unix.SizeofSockaddrLinklayer)}},
	call{unix.SYS_SETSOCKOPT, []condition{is(argSockLevel, unix.SOL_PACKET), is(argSockOption, unix.PACKET_ADD_MEMBERSHIP)}},
)

// Requests to TAP devices: to find out their names, to use those that come back, and to give macvtap
// interfaces the address of their guest.
var useTAP = append([]uint32{unix.TUNGETIFF, unix.TUNSETIFF, unix.TUNSETVNETHDRSZ, unix.TUNSETOFFLOAD, unix.SIOCSIFHWADDR}, askInterface...)

const (
	vfioBase       = ';'<<8 + 100
	iommufdBase    = ';'<<8 + 0x80
	argIoctl       = 1
	argProtection  = 2
	argOpenFlags   = 2
	argFcntl       = 1
	argSockType    = 1
	argSockLevel   = 1
	argSockOption  = 2
	argAddressLen  = 2
	argMessageLen  = 2
	argPeerLen     = 5
	unlinkFlagsArg = 2
)

// calls lists the system calls of a program with this policy, the frequent ones
// first: kernels before 5.11 walk the list for each.
func (p Policy) calls() []call {
	list := anytime(unix.SYS_WRITE, unix.SYS_READ, unix.SYS_FUTEX, unix.SYS_PPOLL, unix.SYS_EPOLL_PWAIT)
	list = append(list, archCalls...)
	list = append(list, runtimeCalls(uint32(os.Getpid()))...)
	list = append(list, peerCalls...)
	if len(p.Listen) > 0 || p.Accept {
		list = append(list, call{unix.SYS_ACCEPT4, nil})
	}
	if len(p.Listen) > 0 {
		list = append(list, call{unix.SYS_UNLINKAT, []condition{is(unlinkFlagsArg, 0)}})
	}
	if len(p.Connect) > 0 {
		list = append(list, call{unix.SYS_SOCKET, []condition{is(0, unix.AF_UNIX)}}, call{unix.SYS_CONNECT, nil})
	}
	if p.AsyncIO {
		list = append(list, anytime(unix.SYS_IO_SUBMIT, unix.SYS_IO_DESTROY)...)
	}
	if p.SocketPairs {
		list = append(list, call{unix.SYS_SOCKETPAIR, []condition{is(0, unix.AF_UNIX), {argSockType, ^uint32(unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK), unix.SOCK_STREAM}}})
	}
	if p.VFIO {
		list = append(list, requests(useVFIO)...)
	}
	if p.TAP {
		list = append(list, requests(useTAP)...)
	}
	if p.PacketSockets {
		list = append(list, packetCalls...)
		list = append(list, requests(askInterface)...)
	}
	if p.XDP {
		list = append(list, xdpCalls...)
		list = append(list, requests(askXDP)...)
	}
	if p.OpenXDP {
		list = append(list, openXDPCalls...)
		list = append(list, requests(askXDP)...)
	}
	if p.SetUpInterfaces {
		list = append(list, requests([]uint32{unix.SIOCGIFINDEX, unix.SIOCGIFFLAGS, unix.SIOCSIFFLAGS, unix.SIOCGIFMTU, unix.SIOCSIFMTU})...)
	}
	if len(p.OpenVFIO) > 0 {
		list = append(list, requests(openVFIO)...)
		list = append(list, call{unix.SYS_OPENAT, []condition{without(argOpenFlags, unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY)}})
		list = append(list, anytime(unix.SYS_NEWFSTATAT, unix.SYS_GETDENTS64)...)
	}
	return list
}

// requests are ioctls.
func requests(numbers []uint32) (list []call) {
	for _, n := range numbers {
		list = append(list, call{unix.SYS_IOCTL, []condition{is(argIoctl, n)}})
	}
	return list
}

// anytime are calls that are allowed whatever their arguments.
func anytime(numbers ...uint32) []call {
	list := make([]call, len(numbers))
	for i, n := range numbers {
		list[i] = call{number: n}
	}
	return list
}

// runtimeCalls are those that the Go run-time makes: memory, threads, signals, time,
// its poller, and the end, also that by a panic.
func runtimeCalls(pid uint32) []call {
	return append(
		anytime(
			unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
			unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EVENTFD2, unix.SYS_GETRANDOM,
			unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
			unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
			unix.SYS_BRK, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_CLOCK_NANOSLEEP, // a C library's, with cgo: it sleeps when a thread cannot be made
		),
		call{unix.SYS_MMAP, []condition{without(argProtection, unix.PROT_EXEC)}},
		call{unix.SYS_MPROTECT, []condition{without(argProtection, unix.PROT_EXEC)}},
		call{unix.SYS_CLONE, []condition{{0, threadFlags | namespaceFlags, threadFlags}}},
		call{unix.SYS_TGKILL, []condition{is(0, pid)}}, // preemption of goroutines
		call{unix.SYS_KILL, []condition{is(0, pid)}},   // a crash that shows all threads
		call{unix.SYS_PRCTL, []condition{is(0, unix.PR_SET_VMA)}},
		call{unix.SYS_PRCTL, []condition{is(0, unix.PR_SET_TIMERSLACK)}}, // loops are not to be late, see slowMonitor
		call{unix.SYS_SCHED_SETAFFINITY, []condition{is(0, 0)}},          // loops pin themselves
	)
}

// peerCalls are those on sockets, eventfds, devices and files that are open or that
// peers sent.
var peerCalls = append(
	anytime(
		unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_CLOSE, unix.SYS_PREAD64, unix.SYS_PREADV2, unix.SYS_PWRITE64, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_SHUTDOWN,
		unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT,
		unix.SYS_READLINKAT, // tells what kind of descriptor a peer has sent
	),
	call{unix.SYS_SETSOCKOPT, []condition{is(argSockLevel, unix.SOL_SOCKET)}},
	call{unix.SYS_IOCTL, []condition{is(argIoctl, unix.SIOCINQ)}}, // tells whether a socket has something unread
	call{unix.SYS_FCNTL, []condition{is(argFcntl, unix.F_GETFL)}},
	call{unix.SYS_FCNTL, []condition{is(argFcntl, unix.F_SETFL)}},
	call{unix.SYS_FCNTL, []condition{is(argFcntl, unix.F_GET_SEALS)}},     // tells whether a file is in memory
	call{unix.SYS_FCNTL, []condition{is(argFcntl, unix.F_DUPFD_CLOEXEC)}}, // a kick to wait for that its owner may close
)
