package confine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acts are what processes with a role do. Attacks go to the kernel directly, as
// injected code would.
var acts = map[string]func(path string) error{
	// Attacks.
	"read a file":        func(path string) error { return open(path, unix.O_RDONLY) },
	"write a file":       func(path string) error { return open(path, unix.O_WRONLY) },
	"make a file":        func(path string) error { return open(path+".new", unix.O_WRONLY|unix.O_CREAT) },
	"remove a file":      func(path string) error { return unix.Unlink(path) },
	"remove a directory": func(path string) error { return unix.Rmdir(path) },
	"rename a file":      func(path string) error { return unix.Rename(path, path+".new") },
	"execute a program": func(string) error {
		// Of the wrong kind on purpose: the test must see what came of it.
		return ignore(unix.Exec("/proc/self/status", []string{"x"}, nil), unix.EACCES)
	},
	"fork": func(string) error {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return nil
	},
	"clone3": func(string) error {
		args := struct{ flags, rest [8]uint64 }{}
		_, _, errno := unix.Syscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), 8, 0) // too small: EINVAL
		return ignore(errno, unix.EINVAL)
	},
	"make a namespace": func(string) error { return unix.Unshare(unix.CLONE_NEWNS) },
	"trace no one":     func(string) error { return unix.PtraceAttach(1 << 30) },
	"mount":            func(path string) error { return unix.Mount("none", path, "tmpfs", 0, "") },
	"use a capability": func(string) error { return unix.Sethostname([]byte("changed")) },
	"tell its capabilities": func(string) error {
		left, err := capabilities()
		if err != nil {
			return err
		}
		return fmt.Errorf("%x", left)
	},
	"tell its arenas": func(string) error { return errors.New(os.Getenv(arenasEnv)) },
	"tell its timer slack": func(string) error { // of a thread that the run-time has made
		got := make(chan error)
		for range 2 { // one at least is not on the first thread
			go func() {
				runtime.LockOSThread()
				if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || unix.Gettid() != os.Getpid() {
					got <- errors.Join(err, fmt.Errorf("%d ns", slack))
				}
				select {}
			}()
		}
		return <-got
	},
	"set its timer slack": func(string) error { return unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) },
	"open an IP socket":   func(string) error { return socket(unix.AF_INET) },
	"open a UNIX socket":  func(string) error { return socket(unix.AF_UNIX) },
	"open a raw socket":   func(string) error { return socket(unix.AF_NETLINK) },
	"map executable memory": func(string) error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		return err
	},
	"make memory executable": func(string) error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return fmt.Errorf("ordinary memory: %w", err)
		}
		return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	},
	"signal another process":  func(string) error { return unix.Kill(os.Getppid(), 0) },
	"signal another's thread": func(string) error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) },
	"make a request to a terminal": func(string) error {
		return ignore(unix.IoctlSetInt(0, unix.TIOCSTI, 0), unix.ENOTTY)
	},
	"make a request to a VFIO group": func(string) error { return vfio(';'<<8 + 106) }, // VFIO_GROUP_GET_DEVICE_FD
	"map memory for a device":        func(string) error { return vfio(';'<<8 + 113) }, // VFIO_IOMMU_MAP_DMA
	"reset a device":                 func(string) error { return vfio(';'<<8 + 111) }, // VFIO_DEVICE_RESET
	"become someone else":            func(string) error { return unix.Setuid(os.Getuid()) },
	"wait a minute": func(string) error {
		fmt.Println("waiting")
		time.Sleep(time.Minute)
		return nil
	},
	"raise a limit": func(string) error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) },
	"own descriptors' signals": func(string) error {
		_, err := unix.FcntlInt(0, unix.F_SETOWN, os.Getpid())
		return err
	},
	"write another process's memory": func(string) error {
		var word [1]byte
		local := []unix.Iovec{{Base: &word[0], Len: 1}}
		_, err := unix.ProcessVMReadv(os.Getpid(), local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&word[0])), Len: 1}}, 0)
		return err
	},
	"lift the filter": func(string) error {
		return ignore(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0), unix.EFAULT)
	},
	"submit a request": func(string) error { // to a context that there is not: EINVAL
		_, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, 0, 0, 0)
		return ignore(errno, unix.EINVAL)
	},
	"load a BPF program": func(string) error {
		_, _, errno := unix.Syscall(unix.SYS_BPF, 0xffff, 0, 0)
		return ignore(errno, unix.EINVAL)
	},

	// Work.
	"connect": connect,
	"accept":  accept,
	"work":    func(string) error { return work() },
	"survive a fault": func(path string) error {
		return surviveFault(path)
	},
	"panic": func(string) error {
		time.Sleep(10 * time.Millisecond)
		done := make(chan struct{})
		go func() { panic("on purpose") }()
		<-done
		return nil
	},
	"wait": func(string) error { // for the parent to look at us, with a few threads more
		var ready sync.WaitGroup
		for range 5 {
			ready.Add(1)
			go func() {
				runtime.LockOSThread()
				ready.Done()
				select {}
			}()
		}
		ready.Wait()
		fmt.Println("ready")
		_, err := os.Stdin.Read(make([]byte, 1))
		return ignore(err, unix.EBADF)
	},
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func socket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if family == unix.AF_NETLINK {
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	}
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// vfio makes a request to a file that knows none.
func vfio(request uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, request, 0)
	return ignore(errno, unix.ENOTTY)
}

// ignore turns an errno, and that of 0, into success: the call has reached the kernel.
func ignore(err error, expected unix.Errno) error {
	if errno, ok := err.(syscall.Errno); ok && errno == 0 {
		return nil
	}
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func connect(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	return ignore(unix.Connect(fd, &unix.SockaddrUnix{Name: path}), unix.ECONNREFUSED)
}

// accept tries to take a peer from what is no socket.
func accept(string) error {
	_, _, err := unix.Accept4(0, unix.SOCK_CLOEXEC)
	return ignore(err, unix.ENOTSOCK)
}

// work is what the Go run-time has to be able to do: many threads, memory that comes
// and goes, preemption, timers, the poller, signals.
func work() error {
	runtime.GOMAXPROCS(4)
	debug.SetGCPercent(20)
	var workers sync.WaitGroup
	for range 40 {
		workers.Go(func() {
			runtime.LockOSThread() // and never unlocked, so the thread ends too
			sum := 0
			for i := range 2_000_000 { // has to be preempted for the collector
				sum += i ^ sum
			}
			b := make([]byte, 1<<20+sum&1)
			b[len(b)-1] = 1
		})
	}
	for range 5 {
		runtime.GC()
		debug.FreeOSMemory()
	}
	workers.Wait()

	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	event := os.NewFile(uintptr(fd), "event") // the poller
	time.AfterFunc(10*time.Millisecond, func() { event.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	if n, err := event.Read(make([]byte, 8)); n != 8 {
		return fmt.Errorf("read eventfd: %w", err)
	}
	if err := event.Close(); err != nil {
		return err
	}
	if _, err := os.Readlink("/proc/self/fd/0"); err != nil {
		return err
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: -1}}, 1); n != 0 || err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &cpus); err != nil {
		return fmt.Errorf("set affinity: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		return fmt.Errorf("kill ourselves: %w", err)
	}
	select {
	case <-signals:
	case <-time.After(5 * time.Second):
		return errors.New("the signal did not come")
	}
	signal.Stop(signals)
	if zone, _ := time.Now().Zone(); zone == "" {
		return errors.New("no time zone")
	}
	return nil
}

// surviveFault touches the memory of a file that is cut meanwhile: descriptor 3.
func surviveFault(string) (err error) {
	debug.SetPanicOnFault(true)
	memory, err := unix.Mmap(3, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	for range 3 {
		if fault := touch(memory); fault == nil {
			return errors.New("no fault")
		}
	}
	return unix.Munmap(memory)
}

func touch(memory []byte) (fault error) {
	defer func() { fault, _ = recover().(error) }()
	memory[0]++
	return nil
}
