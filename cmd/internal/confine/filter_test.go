package confine

import (
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// run interprets a filter program for one system call, as the kernel does. It knows
// the instructions that assemble uses, and fails the test at any other.
func run(t *testing.T, program []unix.SockFilter, arch, number uint32, args ...uint32) uint32 {
	t.Helper()
	data := map[uint32]uint32{offNumber: number, offArch: arch}
	for i, arg := range args {
		data[offArgs+8*uint32(i)] = arg
	}
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		in := program[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[in.K]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= in.K)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.Code)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

// TestAssemble runs programs that no kernel needs to be asked about: conditions,
// their alternatives, other architectures.
func TestAssemble(t *testing.T) {
	const arch, other = uint32(auditArch), uint32(unix.AUDIT_ARCH_I386)
	program := assemble([]call{
		{1, nil},
		{2, []condition{is(0, 5), without(2, 4)}},
		{2, []condition{is(0, 6)}},
		{3, nil},
	})
	for _, test := range []struct {
		arch, number uint32
		args         []uint32
		want         uint32
	}{
		{arch, 1, nil, answerAllow},
		{arch, 3, nil, answerAllow},
		{arch, 4, nil, answerRefuse},
		{arch, 0, nil, answerRefuse},
		{arch, 2, []uint32{5, 9, 3}, answerAllow},
		{arch, 2, []uint32{5, 9, 4}, answerRefuse},
		{arch, 2, []uint32{5, 9, 0xffff_ffff}, answerRefuse},
		{arch, 2, []uint32{6, 9, 4}, answerAllow}, // the alternative
		{arch, 2, []uint32{3, 0, 0}, answerRefuse},
		{arch, 2, []uint32{1, 0, 0}, answerRefuse}, // an argument is not taken for a number
		{arch, unix.SYS_CLONE3, nil, answerUnknown},
		{other, 1, nil, answerKill},
		{other, 4, nil, answerKill},
	} {
		if got := run(t, program, test.arch, test.number, test.args...); got != test.want {
			t.Errorf("architecture %#x, call %d%v: %#x, want %#x", test.arch, test.number, test.args, got, test.want)
		}
	}
	if got := run(t, program, arch, foreignCalls); got != answerKill {
		t.Errorf("a foreign call: %#x", got)
	}
}

// TestStrict has tests of programs die of what would be refused.
func TestStrict(t *testing.T) {
	strict = "yes"
	defer func() { strict = "" }()
	program := assemble([]call{{1, nil}})
	if got := run(t, program, auditArch, 1); got != answerAllow {
		t.Errorf("a listed call: %#x", got)
	}
	if got := run(t, program, auditArch, 2); got != answerKill {
		t.Errorf("another call: %#x", got)
	}
}

// TestProgramsFit keeps the program of the largest policy within what a kernel takes.
func TestProgramsFit(t *testing.T) {
	most := Policy{Listen: []string{"/a"}, Connect: []string{"/b"}, VFIO: true, OpenVFIO: []string{"/c"}, AsyncIO: true}
	const limit = 4096 // BPF_MAXINSNS
	if n := len(assemble(most.calls())); n > limit {
		t.Errorf("%d instructions, the kernel takes %d", n, limit)
	}
}

// TestDangerousCallsAreNotListed names what must never get onto the list, whatever the
// policy is.
func TestDangerousCallsAreNotListed(t *testing.T) {
	most := Policy{Listen: []string{"/a"}, Connect: []string{"/b"}, VFIO: true, OpenVFIO: []string{"/c"}, AsyncIO: true}
	listed := map[uint32]bool{}
	for _, c := range most.calls() {
		listed[c.number] = true
	}
	for _, number := range []uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
		unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_SETUP, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_CAPSET, unix.SYS_SECCOMP,
		unix.SYS_FINIT_MODULE, unix.SYS_INIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_MEMFD_CREATE, unix.SYS_PKEY_MPROTECT, unix.SYS_MREMAP, unix.SYS_SHMAT, unix.SYS_PERSONALITY, unix.SYS_PIDFD_GETFD,
		unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_SETUID, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_LINKAT,
		unix.SYS_SYMLINKAT, unix.SYS_RENAMEAT2, unix.SYS_MKNODAT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_FTRUNCATE,
	} {
		if listed[number] {
			t.Errorf("call %d is listed", number)
		}
	}
}

// TestNoFileIsOpened: whatever else a policy asks for, only who opens devices through VFIO opens files, in any way.
func TestNoFileIsOpened(t *testing.T) {
	var most Policy
	fields := reflect.ValueOf(&most).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); {
		case fields.Type().Field(i).Name == "OpenVFIO":
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		default:
			f.Set(reflect.ValueOf([]string{"/a"}))
		}
	}
	for _, c := range most.calls() {
		if c.number == unix.SYS_OPENAT {
			t.Errorf("files are opened if %v", c.when)
		}
	}
	program := assemble(most.calls())
	for _, flags := range []uint32{unix.O_RDONLY, unix.O_WRONLY, unix.O_WRONLY | unix.O_TRUNC | unix.O_CLOEXEC, unix.O_RDWR, unix.O_PATH} {
		if got := run(t, program, auditArch, unix.SYS_OPENAT, 0, 0, flags); got != answerRefuse {
			t.Errorf("flags %#x: %#x", flags, got)
		}
	}
}

// TestSocketPairs keeps them to streams: a datagram socket can send to any other that has a name.
func TestSocketPairs(t *testing.T) {
	program := assemble(Policy{SocketPairs: true}.calls())
	for kind, want := range map[uint32]uint32{
		unix.SOCK_STREAM: answerAllow,
		unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK: answerAllow,
		unix.SOCK_DGRAM:                     answerRefuse,
		unix.SOCK_DGRAM | unix.SOCK_CLOEXEC: answerRefuse,
		unix.SOCK_SEQPACKET:                 answerRefuse,
	} {
		if got := run(t, program, auditArch, unix.SYS_SOCKETPAIR, unix.AF_UNIX, kind); got != want {
			t.Errorf("type %#x: %#x, want %#x", kind, got, want)
		}
	}
}
