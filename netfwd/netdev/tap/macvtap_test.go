package tap

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/packet"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// patience is how long a test waits for what comes within milliseconds.
const patience = 30 * time.Second

// macvtapPair is a macvtap interface that is made at one end of a cable, and a packet socket at the other end.
func macvtapPair(t *testing.T, mode Mode, queues int) *netdevtest.Pair {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 mtu 9000 type veth peer name v1 mtu 9000")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
	return &netdevtest.Pair{
		A: netdevtest.Device(t, "macvtap:v0", func() ([]*os.File, error) { return OpenMacvtap("v0", mode, queues) }, New),
		B: netdevtest.Device(t, "packet:v1", func() ([]*os.File, error) { return packet.Open("v1", 1) }, packet.New),
	}
}

// between is a frame from one station to another.
func between(to, from byte, n int) []byte {
	f := nettest.Payload(n, n)
	copy(f, []byte{0x52, 0x54, 0, 0, 0, to, 0x52, 0x54, 0, 0, 0, from, 0x88, 0xb5})
	return f
}

// Frames of all lengths pass a macvtap interface that was made here, both ways, and large segments uncut.
func TestMacvtap(t *testing.T) {
	for _, queues := range []int{1, 2} {
		p := macvtapPair(t, Passthrough, queues)
		if got := len(p.A.Ports()); got != queues {
			t.Fatalf("%d queue pairs, want %d", got, queues)
		}
		p.Run(t)
		for _, way := range [][2]*netdev.Device{{p.A, p.B}, {p.B, p.A}} {
			s := netdevtest.NewSource(t)
			pass := func(h virtionet.Header, f []byte) netdevtest.Received {
				t.Helper()
				s.Reset()
				s.Add(t, h, f)
				s.Send(t, way[0].Ports()[0])
				got := netdevtest.Collect(t, way[1], 1)[0]
				if !bytes.Equal(got.Bytes, f) {
					t.Errorf("%d bytes came as %d, and not the same", len(f), len(got.Bytes))
				}
				return got
			}
			for _, n := range []int{60, 64, 1514, 4096, 9014} {
				pass(virtionet.Header{}, between(1, 2, n))
			}
			for _, shape := range packettest.Shapes(t, 40000) {
				if shape.Layout.Protocol != 6 {
					continue
				}
				h := nettest.GSOHeader(shape, 1400)
				if got := pass(h, shape.Unfinished()).Header; got.GSOType != h.GSOType || got.GSOSize != h.GSOSize {
					t.Errorf("%s: came with %+v, want %+v", shape.Name, got, h)
				}
			}
		}
	}
}

// The interface takes the address of the guest that sends, and that of another one only when the first has been
// silent.
func TestMacvtapFollowsGuest(t *testing.T) {
	p := macvtapPair(t, "", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 2)
	for _, d := range []*netdev.Device{p.A, p.B} { // either may not have a link yet
		go func() { done <- d.Run(ctx) }()
	}
	toGuest, fromGuest := netdevtest.NewSource(t), netdevtest.NewSource(t)
	reaches := func(guest byte) {
		t.Helper()
		var b virtionet.Burst
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			fromGuest.Reset()
			fromGuest.Add(t, virtionet.Header{}, between(9, guest, 64))
			fromGuest.Send(t, p.A.Ports()[0])
			want := between(guest, 9, 64)
			toGuest.Reset()
			toGuest.Add(t, virtionet.Header{}, want)
			toGuest.Send(t, p.B.Ports()[0])
			q := p.A.Ports()[0]
			for q.Receive(&b); b.Len() > 0; q.Receive(&b) {
				got := bytes.Clone(b.Frames(0, 1)[0].Data[0])
				q.Release(&b, 0, b.Len())
				if bytes.Equal(got, want) {
					return
				}
			}
			if time.Now().After(end) {
				t.Fatalf("what is sent to guest %d does not come", guest)
			}
		}
	}
	reaches(3)
	reaches(4)
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := p.A.Close(); err != nil {
		t.Error(err)
	}
	if err := p.B.Close(); err != nil {
		t.Error(err)
	}
}

// Nothing of an interface that was made here is left when its files are closed, and whoever comes next at once
// has one again, also one that can only be alone.
func TestMacvtapVanishes(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	for range 10 {
		files, err := OpenMacvtap("v0", Passthrough, 2)
		if err != nil {
			t.Fatal(err)
		}
		if promiscuity(t, "v0") == "0" {
			t.Fatal("v0 is not promiscuous, as one in mode passthru is")
		}
		closeAll(files)
	}
	for end := time.Now().Add(patience); promiscuity(t, "v0") != "0"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the last interface is there still")
		}
	}
	if _, err := OpenMacvtap("v0", "odd", 1); err == nil {
		t.Error("an odd mode is accepted")
	}
}

// promiscuity is how many want all that arrives at an interface.
func promiscuity(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("ip", "-d", "link", "show", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, rest, _ := strings.Cut(string(out), "promiscuity ")
	return strings.Fields(rest + " none")[0]
}

// A macvtap interface that someone else has made is used as it is.
func TestMacvtapThatExists(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link add index 7654321 link v0 name m0 type macvtap mode bridge")
	for _, name := range []string{"v0", "v1", "m0"} {
		netdevtest.IP(t, "link set "+name+" up")
	}
	if _, err := OpenMacvtap("m0", Private, 1); err == nil || !strings.Contains(err.Error(), "leave out mode=private") {
		t.Errorf("a mode for one that has one: %v", err)
	}
	d := netdevtest.Device(t, "macvtap:m0", func() ([]*os.File, error) { return OpenMacvtap("m0", "", 2) }, New)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if len(d.Ports()) != 2 || !d.AwaitLink(ctx) {
		t.Errorf("%d queue pairs, link %v", len(d.Ports()), d.Up())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	netdevtest.IP(t, "link del m0")
}
