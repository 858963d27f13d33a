package hostile

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// files are descriptors of all kinds that a front-end can send, by name.
func files(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	add := func(name string, fd int, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = fd
		t.Cleanup(func() { unix.Close(fd) })
	}
	memfd := func(name string, size int64, seals int) {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		add(name, fd, err)
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
	}
	memfd("empty memfd", 0, 0)
	memfd("short memfd", 4096, 0)
	memfd("memfd that cannot be written", ramBytes, unix.F_SEAL_WRITE)
	memfd("memfd that cannot shrink", ramBytes, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	var pipe [2]int
	err := unix.Pipe2(pipe[:], unix.O_CLOEXEC)
	add("pipe to read", pipe[0], err)
	add("pipe to write", pipe[1], err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	add("socket", pair[0], err)
	add("other socket", pair[1], err)
	for name, path := range map[string]string{"directory": t.TempDir(), "null": os.DevNull, "zero": "/dev/zero", "own memory": "/proc/self/mem", "read-only file": "/proc/self/exe"} {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		add(name, fd, err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	add("blocking eventfd", fd, err)
	fd, err = unix.Eventfd(5, unix.EFD_CLOEXEC|unix.EFD_SEMAPHORE)
	add("semaphore", fd, err)
	fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	add("epoll", fd, err)
	fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	add("timer", fd, err)
	return all
}

// Descriptors of the wrong kind, and too many or too few of them.
func TestFiles(t *testing.T) {
	single := vhostuser.SingleRegion{GPA: 0x9000_0000, Size: 1 << 20, UVA: 0x7000_0000_0000}
	carriers := []message{
		{request: vhostuser.SetMemTable, payload: regions},
		{request: vhostuser.AddMemReg, payload: single},
		{request: vhostuser.RemMemReg, payload: single},
		{request: vhostuser.SetVringKick, payload: vhostuser.VringFD{Index: 1}},
		{request: vhostuser.SetVringCall, payload: vhostuser.VringFD{Index: 1}},
		{request: vhostuser.SetVringErr, payload: vhostuser.VringFD{Index: 1}},
	}
	var cases []messageCase
	add := func(m message, name string, fds []int) {
		cases = append(cases, messageCase{
			name: fmt.Sprintf("%v with %d of %s", m.request, len(fds), name), request: m.request, running: len(cases)%2 == 0,
			play: func(g *guest) error { return g.say(m.request, m.payload, fds...) },
		})
	}
	all := files(t)
	for name, fd := range all {
		for _, m := range carriers {
			n := 1
			if m.request == vhostuser.SetMemTable {
				n = len(regions)
			}
			add(m, name, same(fd, n))
		}
	}
	others := []message{
		{request: vhostuser.GetFeatures}, {request: vhostuser.SetOwner}, {request: vhostuser.SetLogFD}, {request: vhostuser.SetBackendReqFD},
		{request: vhostuser.SetLogBase, payload: vhostuser.U64(0)}, {request: vhostuser.SetInflightFD, payload: vhostuser.Inflight{}},
		{request: vhostuser.SetVringKick, payload: vhostuser.VringFD{NoFD: true}},
	}
	for _, m := range append(carriers, others...) {
		for _, n := range []int{0, 1, 2, 6, 32, 33, 253} { // the kernel takes no more
			add(m, "eventfd", same(all["blocking eventfd"], n))
		}
	}
	runCases(t, cases)
}
