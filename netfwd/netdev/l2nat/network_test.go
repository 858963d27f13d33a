package l2nat_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/l2nat"
	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/packet"
)

// patience is how long a test waits for what comes at once, on a busy machine too.
const patience = 2 * time.Minute

// stack is a network namespace with a real stack in it: a goroutine that does what it is told.
type stack struct {
	*testing.T
	name string
	tid  int
	do   chan func()
}

// newStack makes one; its end is that of the test.
func newStack(t *testing.T, name string) *stack {
	s := &stack{T: t, name: name, do: make(chan func())}
	t.Cleanup(func() { close(s.do) })
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return s
}

// in does something within, and waits for it.
func (s *stack) in(f func() error) {
	s.Helper()
	done := make(chan error)
	s.do <- func() { done <- f() }
	if err := <-done; err != nil {
		s.Fatalf("%s: %v", s.name, err)
	}
}

// ip runs the program of that name within.
func (s *stack) ip(words string) {
	s.Helper()
	s.in(func() error {
		if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
		return nil
	})
}

// take moves an interface here and gives it addresses.
func (s *stack) take(iface string, addresses ...string) {
	s.Helper()
	netdevtest.IP(s, fmt.Sprintf("link set %s netns %d", iface, s.tid))
	for _, a := range addresses {
		s.ip("addr add " + a + " dev " + iface)
	}
	s.ip("link set lo up")
	s.ip("link set " + iface + " up")
	// Addresses that are looked for on the network first: no one has them.
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var out []byte
		s.in(func() (err error) {
			out, err = exec.Command("ip", "-6", "addr", "show", "dev", iface).CombinedOutput()
			return err
		})
		if strings.Contains(string(out), "fe80:") && !strings.Contains(string(out), "tentative") {
			return
		}
		if strings.Contains(string(out), "dadfailed") || time.Now().After(end) {
			s.Fatalf("%s: its addresses do not become usable:\n%s", s.name, out)
		}
	}
}

// echoes serves connections, and datagrams, at a port until the test ends: what comes goes back.
func (s *stack) echoes(port string) {
	s.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	s.in(func() (err error) {
		if tcp, err = net.Listen("tcp", ":"+port); err == nil {
			udp, err = net.ListenPacket("udp", ":"+port)
		}
		return err
	})
	s.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			udp.WriteTo(b[:n], from)
		}
	}()
}

// dial connects from here. Linux gives up on a neighbour that does not answer within three seconds, which on a
// busy machine it may not.
func (s *stack) dial(network, address string) (c net.Conn) {
	s.Helper()
	d := net.Dialer{Timeout: patience}
	s.in(func() (err error) {
		for end := time.Now().Add(patience); ; {
			if c, err = d.Dial(network, address); err == nil || time.Now().After(end) {
				return err
			}
		}
	})
	s.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.Fatal(err)
	}
	return c
}

// exchange sends n bytes to an address by TCP, and a datagram that takes fragments by UDP, and wants all of them back.
func (s *stack) exchange(address string, n int) {
	s.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 >> (i & 7))
	}
	c := s.dial("tcp", address)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- err
	}()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		s.Fatalf("%s, TCP to %s: %v, or other bytes", s.name, address, err)
	}
	if err := <-sent; err != nil {
		s.Fatal(err)
	}
	u := s.dial("udp", address)
	for end := time.Now().Add(patience); ; { // a datagram may get lost
		u.Write(data[:4000])
		u.SetReadDeadline(time.Now().Add(time.Second))
		if k, err := u.Read(got); err == nil && bytes.Equal(got[:k], data[:4000]) {
			return
		} else if time.Now().After(end) {
			s.Fatalf("%s, UDP to %s: %d bytes, %v", s.name, address, k, err)
		}
	}
}

// accessPoint passes frames on between the card's other end and a network, as one does: from the card it takes what has the card's
// address alone. Everything else is an error of the test. It answers for no one, but sends the card's own broadcasts back to it.
type accessPoint struct {
	card, network int // sockets
	address       net.HardwareAddr

	mu     sync.Mutex
	faults []string
	passed int
}

// rawSocket is a packet socket whose frames have virtio-net headers.
func rawSocket(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
			t.Fatal(err)
		}
	}
	promiscuous := unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &promiscuous); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: i.Index}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// vnetLen is the length of those headers.
const vnetLen = 10

// run passes frames on until ctx is done.
func (a *accessPoint) run(ctx context.Context) {
	b := make([]byte, vnetLen+70000)
	fds := []unix.PollFd{{Fd: int32(a.card), Events: unix.POLLIN}, {Fd: int32(a.network), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if _, err := unix.Poll(fds, 50); err != nil && err != unix.EINTR {
			return
		}
		for i := range fds {
			if fds[i].Revents&unix.POLLIN == 0 {
				continue
			}
			n, _, err := unix.Recvfrom(int(fds[i].Fd), b, unix.MSG_DONTWAIT)
			if err != nil || n < vnetLen+14 {
				continue
			}
			if i == 0 && !a.takes(b[vnetLen:n]) {
				continue
			}
			unix.Write(int(fds[1-i].Fd), b[:n])
			if i == 0 && b[vnetLen]&1 != 0 {
				unix.Write(int(fds[0].Fd), b[:n])
			}
		}
	}
}

// takes reports whether a frame of the card's is one.
func (a *accessPoint) takes(frame []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passed++
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	fault := ""
	if e, ok := p.LinkLayer().(*layers.Ethernet); !ok || !bytes.Equal(e.SrcMAC, a.address) {
		fault = "source"
	}
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && !bytes.Equal(arp.SourceHwAddress, a.address) {
		fault = "ARP"
	}
	var options layers.ICMPv6Options
	switch nd := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(type) {
	case *layers.ICMPv6NeighborSolicitation:
		options = nd.Options
	}
	switch nd := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(type) {
	case *layers.ICMPv6NeighborAdvertisement:
		options = nd.Options
	}
	for _, o := range options {
		if (o.Type == layers.ICMPv6OptSourceAddress || o.Type == layers.ICMPv6OptTargetAddress) && !bytes.Equal(o.Data, a.address) {
			fault = "neighbour discovery"
		}
	}
	if fault != "" {
		a.faults = append(a.faults, fmt.Sprintf("%s: %x", fault, frame[:min(len(frame), 90)]))
	}
	return fault == ""
}

// open opens a port over a packet socket.
func open(t *testing.T, name string, translated bool) *netdev.Device {
	t.Helper()
	return netdevtest.Device(t, "packet:"+name, func() ([]*os.File, error) { return packet.Open(name, 1) }, func(files []*os.File) (netdev.Interface, error) {
		i, err := packet.New(files)
		if err == nil && translated {
			i, err = l2nat.Wrap(i, time.Minute)
		}
		return i, err
	})
}

// Two stations, with the stacks of Linux, reach a network through a card that sends frames with its own
// address only, and are reached from there, by IPv4 and IPv6; and they reach each other.
func TestStationsBehindACard(t *testing.T) {
	netdevtest.Namespace(t)
	for _, pair := range []string{"card ap0", "ap1 net0", "pa a0", "pb b0"} {
		ends := strings.Fields(pair)
		netdevtest.IP(t, "link add "+ends[0]+" type veth peer name "+ends[1])
	}
	for _, up := range []string{"card", "ap0", "ap1", "pa", "pb"} {
		netdevtest.IP(t, "link set "+up+" up")
	}
	card, err := net.InterfaceByName("card")
	if err != nil {
		t.Fatal(err)
	}
	ap := &accessPoint{card: rawSocket(t, "ap0"), network: rawSocket(t, "ap1"), address: card.HardwareAddr}

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { ap.run(ctx) })
	nat, a, b := open(t, "card", true), open(t, "pa", false), open(t, "pb", false)
	var ends []netfwd.SwitchPort
	for _, d := range []*netdev.Device{nat, a, b} {
		ends = append(ends, netfwd.SwitchPort{End: netfwd.End{Queues: []netfwd.Port{d.Ports()[0]}}, Uplink: d == nat})
	}
	sw, err := netfwd.NewSwitch(netfwd.SwitchConfig{Ports: ends, MACAge: time.Minute, MACLimit: 16}, netfwd.Config{CPU: -1, IdleAfter: 0}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*netdev.Device{nat, a, b} {
		d.Follow(sw.WakeLoops, func(bool) {})
		running.Go(func() { d.Run(ctx) })
	}
	running.Go(func() { sw.Run(ctx) })
	for _, l := range sw.Loops() {
		running.Go(func() { l.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		sw.WakeLoops()
		running.Wait()
		for _, d := range []*netdev.Device{nat, a, b} {
			d.Close()
		}
	})

	host, sa, sb := newStack(t, "host"), newStack(t, "a"), newStack(t, "b")
	host.take("net0", "10.9.0.1/24", "fd09::1/64")
	sa.take("a0", "10.9.0.10/24", "fd09::a/64")
	sb.take("b0", "10.9.0.11/24", "fd09::b/64")
	for _, s := range []*stack{host, sa, sb} {
		s.echoes("7")
	}
	const size = 300_000
	for _, from := range []*stack{sa, sb} {
		from.exchange("10.9.0.1:7", size)
		from.exchange("[fd09::1]:7", size)
	}
	for _, to := range []string{"10.9.0.10:7", "10.9.0.11:7", "[fd09::a]:7", "[fd09::b]:7"} {
		host.exchange(to, size)
	}
	before := func() int { ap.mu.Lock(); defer ap.mu.Unlock(); return ap.passed }()
	sa.exchange("10.9.0.11:7", size)
	sb.exchange("[fd09::a]:7", size)
	after := func() int { ap.mu.Lock(); defer ap.mu.Unlock(); return ap.passed }()
	if after-before > 50 {
		t.Errorf("%d frames between stations leave through the card", after-before)
	}
	// The host forgets who is where, and finds out again, while stations are silent.
	host.ip("neigh flush all")
	host.exchange("10.9.0.10:7", size)
	host.exchange("[fd09::b]:7", size)

	ap.mu.Lock()
	defer ap.mu.Unlock()
	for _, f := range ap.faults {
		t.Errorf("a frame leaves that an access point does not take: %s", f)
	}
	stats := nat.Stats().Translation.(l2nat.Stats)
	if stats.Stations != 2 || stats.Addresses < 6 || stats.Spoofed != 0 || stats.Filtered != 0 || stats.Echoes == 0 {
		t.Errorf("statistics %+v", stats)
	}
	t.Logf("%d frames through the card, %+v", ap.passed, stats)
}
