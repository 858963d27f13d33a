package xdp

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

func TestSockets(t *testing.T) {
	for _, test := range []struct {
		mode   Mode
		queues int
	}{{Native, 1}, {Native, 4}, {Generic, 1}} {
		t.Run(fmt.Sprintf("%s, %d queues", test.mode, test.queues), func(t *testing.T) {
			netdevtest.Suite(t, func(t *testing.T) *netdevtest.Pair { return pair(t, test.mode, test.queues) })
		})
	}
}

// pair is the two ends of a cable.
func pair(t testing.TB, mode Mode, queues int) *netdevtest.Pair {
	link := func(t testing.TB) {
		n := fmt.Sprintf("numtxqueues %d numrxqueues %d", queues, queues)
		netdevtest.IP(t, fmt.Sprintf("link add v0 mtu 9000 %s type veth peer name v1 mtu 9000 %s", n, n))
		for _, name := range []string{"v0", "v1"} {
			withoutSums(t, name)
			netdevtest.IP(t, "link set "+name+" up")
		}
	}
	link(t)
	return &netdevtest.Pair{
		A: openDevice(t, "v0", mode, queues), B: openDevice(t, "v1", mode, queues), Name: "v0", Cuts: true,
		Away: func(t testing.TB) { netdevtest.IP(t, "link del v0") },
		Back: link,
	}
}

// withoutSums has the kernel complete checksums before an interface sends a frame: one that is not
// made of wire need not, and no one does at the other end.
func withoutSums(t testing.TB, name string) {
	t.Helper()
	socket := netdevtest.Socket(t)
	const setTxSums = 0x17 // ETHTOOL_STXCSUM
	if err := ethtool(socket, name, &ethtoolValue{command: setTxSums}); err != nil {
		t.Fatalf("switch checksums of %s off: %v", name, err)
	}
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ command, value uint32 }

func openDevice(t testing.TB, name string, mode Mode, queues int) *netdev.Device {
	t.Helper()
	open := func() ([]*os.File, error) { return Open(name, Options{Mode: mode, Queues: queues}) }
	elsewhere := inNamespace(t, open)
	return netdevtest.Device(t, "xdp:"+name, open, func(files []*os.File) (netdev.Interface, error) { return New(files, elsewhere) })
}

// inNamespace makes a function that can be called on any thread run in the network namespace of this one.
func inNamespace(t testing.TB, open Reopen) Reopen {
	t.Helper()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	return func() (files []*os.File, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			if err = unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err == nil {
				files, err = open()
			}
		}()
		<-done
		return files, err
	}
}

// BenchmarkNICCore is for make corebench.
func BenchmarkNICCore(b *testing.B) {
	netdevtest.Measure(b, func(b testing.TB) *netdevtest.Pair { return pair(b, Native, 1) })
}
