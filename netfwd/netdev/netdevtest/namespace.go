package netdevtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// Namespace gives the calling goroutine, and programs that it starts, a network namespace of
// their own, which says nothing by itself. The test is skipped where that cannot be.
func Namespace(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: there is no program ip (Debian package iproute2)")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("skipped: network namespaces cannot be made: %v", err)
	}
	for _, which := range []string{"all", "default"} {
		// Of the namespace of the thread that opens it.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
	}
}

// IP runs ip with these words.
func IP(t testing.TB, words string) {
	t.Helper()
	if err := tryIP(words); err != nil {
		t.Fatal(err)
	}
}

func tryIP(words string) error {
	out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", words, err, out)
	}
	return nil
}

// Socket is one to ask the kernel about interfaces, for as long as the test runs.
func Socket(t testing.TB) int {
	t.Helper()
	fd, err := netdev.Socket()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Device is that of an interface: open opens its queues, and make makes the interface of them.
func Device(t testing.TB, name string, open func() ([]*os.File, error), make func([]*os.File) (netdev.Interface, error)) *netdev.Device {
	t.Helper()
	files, err := open()
	if err != nil {
		t.Fatal(err)
	}
	i, err := make(files)
	if err != nil {
		t.Fatal(err)
	}
	d, err := netdev.NewDevice(name, i, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
