package xdp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// frame is a plain one that no stack takes.
func frame(n, seed int) []byte {
	f := nettest.Payload(n, seed)
	copy(f, []byte{0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x88, 0xb5})
	return f
}

// send sends frames through the first queue pair of a device.
func send(t *testing.T, s *netdevtest.Source, d *netdev.Device, frames ...[]byte) {
	t.Helper()
	s.Reset()
	for _, f := range frames {
		s.Add(t, virtionet.Header{}, f)
	}
	s.Send(t, d.Ports()[0])
}

// A guest that takes nothing leaves all chunks with frames: the kernel drops what comes then, and counts it. What is there stays as it
// is, and when the guest takes frames again all is as before.
func TestUmemIsExhausted(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(string(mode), func(t *testing.T) {
			netdevtest.Namespace(t)
			p := pair(t, mode, 1)
			p.Run(t)
			s := netdevtest.NewSource(t)
			const tooMany = 2 * rxChunks
			for i := 0; i < tooMany; i += virtionet.MaxBurst / 2 {
				var some [][]byte
				for k := range virtionet.MaxBurst / 2 {
					some = append(some, frame(200, i+k))
				}
				send(t, s, p.A, some...)
			}
			dropped := func() uint64 { return *p.B.Stats().Dropped }
			for end := time.Now().Add(time.Minute); dropped() < tooMany-rxChunks; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d frames are counted as dropped, want %d", dropped(), tooMany-rxChunks)
				}
			}
			for i, r := range netdevtest.Collect(t, p.B, rxChunks) {
				if want := frame(200, i); string(r.Bytes) != string(want) {
					t.Fatalf("frame %d of those that there was room for is another one", i)
				}
			}
			for i := range 3 * rxChunks / 8 { // more than there are chunks
				var some [][]byte
				for k := range 8 {
					some = append(some, frame(300, 8*i+k))
				}
				send(t, s, p.A, some...)
				for k, r := range netdevtest.Collect(t, p.B, 8) {
					if string(r.Bytes) != string(some[k]) {
						t.Fatalf("round %d: frame %d is another one", i, k)
					}
				}
			}
			if n := dropped(); n != tooMany-rxChunks {
				t.Errorf("%d frames are counted as dropped in the end", n)
			}
		})
	}
}

// setChannels is ethtool -L NAME rx RX tx TX.
func setChannels(name string, rx, tx uint32) error {
	socket, err := netdev.Socket()
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	const set = 0x3d // ETHTOOL_SCHANNELS
	c := channels{command: unix.ETHTOOL_GCHANNELS}
	if err := ethtool(socket, name, &c); err != nil {
		return err
	}
	c.command, c.rx, c.tx = set, rx, tx
	return ethtool(socket, name, &c)
}

// The kernel takes no queue away that has a socket. With more than there are sockets for the port waits, says so, and goes on when
// there are as many again. All of this under load.
func TestQueuesChange(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 numtxqueues 4 numrxqueues 4 type veth peer name v1 numtxqueues 4 numrxqueues 4")
	for _, name := range []string{"v0", "v1"} {
		if err := setChannels(name, 2, 2); err != nil {
			t.Skipf("skipped: the kernel's veth interfaces have a fixed number of queues: %v", err)
		}
		netdevtest.IP(t, "link set "+name+" up")
	}
	p := &netdevtest.Pair{A: openDevice(t, "v0", Native, 2), B: openDevice(t, "v1", Native, 2), Name: "v0"}
	p.RunAnyMTU(t)
	s := netdevtest.NewSource(t)
	load := func() {
		for i := range 8 {
			send(t, s, p.A, frame(1000, i))
		}
	}
	if err := setChannels("v0", 1, 2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a queue with a socket was taken away: %v", err)
	}
	load()
	p.Passes(t, time.Minute)
	if err := setChannels("v0", 4, 2); err != nil {
		t.Fatal(err)
	}
	await := func(up bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); p.A.Stats().Link != up; time.Sleep(time.Millisecond) {
			load()
			if time.Now().After(end) {
				t.Fatalf("link %v, want %v", !up, up)
			}
		}
	}
	await(false)
	before := p.A.Ports()[0].Counters().Drops[virtionet.DropLinkDown]
	load()
	if got := p.A.Ports()[0].Counters().Drops[virtionet.DropLinkDown] - before; got != 8 {
		t.Errorf("%d frames were dropped without a link, want 8", got)
	}
	if err := setChannels("v0", 2, 2); err != nil {
		t.Fatal(err)
	}
	await(true)
	p.Passes(t, time.Minute)
}

// The MTU goes down and up again while frames pass: none is longer than the interface takes, and all pass in the end.
func TestMTUUnderLoad(t *testing.T) {
	netdevtest.Namespace(t)
	p := pair(t, Native, 1)
	p.Run(t)
	s := netdevtest.NewSource(t)
	for _, mtu := range []int{1500, 68, 9000, 1500, 9000} {
		done := make(chan error, 1)
		namespace := fmt.Sprintf("/proc/%d/task/%d/ns/net", unix.Getpid(), unix.Gettid())
		go func() {
			out, err := exec.Command("nsenter", "--net="+namespace, "ip", "link", "set", "v0", "mtu", fmt.Sprint(mtu)).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			done <- err
		}()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			default:
				for i := range 16 {
					send(t, s, p.A, frame(60+i*500, i))
				}
				p.Drain()
			}
		}
	}
	for end := time.Now().Add(time.Minute); ; {
		p.Drain()
		before := *p.A.Ports()[0].Counters()
		send(t, s, p.A, frame(9014, 1))
		if p.A.Ports()[0].Counters().TxPackets > before.TxPackets {
			break
		}
		if time.Now().After(end) {
			t.Fatal("frames of the old length do not pass")
		}
		time.Sleep(time.Millisecond)
	}
	if got := netdevtest.Collect(t, p.B, 1)[0].Bytes; string(got) != string(frame(9014, 1)) {
		t.Error("a frame of the old length came as another one")
	}
}

// without does something on a thread that has only some of the capabilities.
func without(t *testing.T, keep []uint, do func()) {
	t.Helper()
	done := make(chan error)
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		for _, c := range keep {
			sets[c/32].Effective |= 1 << (c % 32)
			sets[c/32].Permitted |= 1 << (c % 32)
		}
		if err = errors.Join(err, unix.Capset(&header, &sets[0])); err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Whatever capability is missing, one line says which it takes.
func TestNoPermission(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	all := []uint{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_IPC_LOCK}
	for missing := range 4 {
		var keep []uint
		for i, c := range all {
			if i != missing && missing != 3 {
				keep = append(keep, c)
			}
		}
		without(t, keep, func() {
			files, err := Open("v0", Options{Queues: 64, Mode: Native})
			if err == nil || !strings.Contains(err.Error(), "AF_XDP takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: run as root") || strings.Contains(err.Error(), "\n") || files != nil {
				t.Errorf("with capabilities %v: %v", keep, err)
			}
		})
	}
	without(t, all, func() {
		files, err := Open("v0", Options{Queues: 64, Mode: Native})
		if err != nil {
			t.Errorf("with all of them: %v", err)
		}
		closeAll(files)
	})
}

// What the kernel says where it has no such sockets.
func TestNoSockets(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EAFNOSUPPORT: "the kernel has no AF_XDP: use one with CONFIG_XDP_SOCKETS, or --port packet:INTERFACE", unix.EPERM: "run as root", unix.EMFILE: "too many open files",
	} {
		if err := socketError(errno); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v, want %q", errno, err, want)
		}
	}
	if err := socketError(nil); err != nil {
		t.Error(err)
	}
}
