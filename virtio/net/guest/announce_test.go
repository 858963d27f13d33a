package guest

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
)

var station = [6]byte{0x52, 0x54, 0, 1, 2, 3}

func announcement(t *testing.T, last byte) *Announcement {
	t.Helper()
	mac := station
	mac[5] = last
	a, err := NewAnnouncement(mac)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The frame is a RARP request of a station for itself, as others' decoders see it.
func TestAnnouncementIsRARP(t *testing.T) {
	a := announcement(t, 3)
	if len(a) != 60 {
		t.Errorf("%d bytes, the shortest frame has 60", len(a))
	}
	eth := gopacket.NewPacket(a[:], layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if eth.DstMAC.String() != "ff:ff:ff:ff:ff:ff" || !bytes.Equal(eth.SrcMAC, station[:]) || eth.EthernetType != 0x8035 {
		t.Errorf("from %v to %v, type %v", eth.SrcMAC, eth.DstMAC, eth.EthernetType)
	}
	var arp layers.ARP // RARP has the format of ARP
	if err := arp.DecodeFromBytes(eth.Payload, gopacket.NilDecodeFeedback); err != nil {
		t.Fatal(err)
	}
	none := net.IPv4zero.To4()
	if arp.AddrType != layers.LinkTypeEthernet || arp.Protocol != layers.EthernetTypeIPv4 || arp.Operation != 3 ||
		!bytes.Equal(arp.SourceHwAddress, station[:]) || !bytes.Equal(arp.DstHwAddress, station[:]) ||
		!bytes.Equal(arp.SourceProtAddress, none) || !bytes.Equal(arp.DstProtAddress, none) {
		t.Errorf("%+v", arp)
	}
	if pad := a[42:]; !bytes.Equal(pad, make([]byte, len(pad))) {
		t.Errorf("padding %x", pad)
	}
}

func TestNoStation(t *testing.T) {
	for _, mac := range [][6]byte{{}, {1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0, 0, 0, 1}} {
		if _, err := NewAnnouncement(mac); err == nil {
			t.Errorf("%x is taken for the address of a station", mac)
		}
	}
}

// with returns the rig's queues with something to announce.
func (r *guestRig) with(a *Announcement) *Queues {
	q := *r.cur
	q.Announce = a
	return &q
}

// While the guest's rings are away for a moment the announcement waits, whether it was
// received and taken back or not received yet: there is no ring to be done with it.
func TestAnnouncementWaitsForThePausedGuest(t *testing.T) {
	for _, received := range []bool{false, true} {
		r := newGuestRig(t, vringtest.Config{Size: 8}, running)
		before := r.cur
		r.install(r.with(announcement(t, 7)))
		frames := make([]virtionet.Frame, virtionet.MaxBurst)
		if received && r.rxFrames(frames) != 1 {
			t.Fatal("it did not come")
		}
		r.install(&Queues{HeaderLen: virtionet.HeaderLen, paused: true})
		if n := r.rxFrames(frames); n != 0 {
			t.Errorf("%d frames from a guest whose rings are away", n)
			r.release(n)
		}
		r.install(before)
		if n := r.rxFrames(frames); n != 1 || frames[0].Len != 60 {
			t.Fatalf("%d frames, want the announcement", n)
		}
		r.release(1)
	}
}

// It comes before frames that wait in the ring, once, in memory of ours, and is no buffer
// of the ring.
func TestAnnouncementIsReceived(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	r.send(t, nettest.Payload(100, 1))
	r.install(r.with(announcement(t, 7)))
	frames := make([]virtionet.Frame, virtionet.MaxBurst)
	if n := r.rxFrames(nil); n != 0 {
		t.Fatalf("%d frames where there is no place", n)
	}
	if n := r.rxFrames(frames); n != 1 {
		t.Fatalf("%d frames, want the announcement", n)
	}
	if f := frames[0]; f.Len != 60 || len(f.Data) != 1 || !bytes.Equal(f.Data[0], announcement(t, 7)[:]) || f.Header != (virtionet.Header{}) || r.Owns(vringtest.Address(f.Data[0])) {
		t.Fatalf("received %+v", f)
	}
	r.release(1)
	if got := r.completed(); len(got) != 0 {
		t.Fatalf("the guest was given %v back, and sent nothing", got)
	}
	for range 3 {
		if n := r.rxFrames(frames); n != 1 || !bytes.Equal(flat(frames[0].Data), nettest.Payload(100, 1)) {
			t.Fatalf("%d frames, want the guest's", n)
		}
		r.release(1)
		if got := r.completed(); len(got) != 1 {
			t.Fatalf("%v came back", got)
		}
		r.send(t, nettest.Payload(100, 1))
	}
	if c := r.Counters(); c.RxPackets != 4 || c.RxBytes != 360 {
		t.Errorf("counted %d frames, %d bytes", c.RxPackets, c.RxBytes)
	}
}

func flat(parts [][]byte) []byte { return bytes.Join(parts, nil) }

// What was not received yet waits when the queues change, unless the ring stops, and what
// is held stays, unless there is another one to take its place.
func TestAnnouncementAndChanges(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	frames := make([]virtionet.Frame, virtionet.MaxBurst)
	idle := r.with(nil)

	r.install(r.with(announcement(t, 1)))
	if frames, _ := r.EnableKicks(false); !frames {
		t.Error("a forwarder may sleep on an announcement")
	}
	r.install(idle)
	if n := r.rxFrames(frames); n != 1 {
		t.Errorf("%d frames after a change of something else", n)
	}
	r.install(idle)
	if c := r.Counters().Drops[virtionet.DropStopped]; c != 0 || !bytes.Equal(frames[0].Data[0], announcement(t, 1)[:]) {
		t.Errorf("%d frames dropped by a change of something else, and %x left of the one that is held", c, frames[0].Data[0])
	}
	r.install(r.with(announcement(t, 9))) // takes the place of what is held
	if c := r.Counters(); c.Dropped() != 0 || c.RxPackets != 0 {
		t.Errorf("counted %d frames received and %d dropped, of which none was sent on", c.RxPackets, c.Dropped())
	}
	if n := r.rxFrames(frames); n != 1 || frames[0].Data[0][11] != 9 {
		t.Errorf("%d frames, want the later announcement", n)
	}
	r.release(1)
	if n := r.rxFrames(frames); n != 0 {
		t.Errorf("%d frames after both", n)
	}
	if frames, _ := r.EnableKicks(false); frames {
		t.Error("a forwarder is told of frames and there are none")
	}

	for what, gone := range map[string]func(q *Queues){
		"stopped":  func(q *Queues) { q.FromGuest = nil },
		"disabled": func(q *Queues) { q.FromGuestEnabled = false },
	} {
		r.install(r.with(announcement(t, 2)))
		q := *idle
		gone(&q)
		r.install(&q)
		r.install(idle)
		if n := r.rxFrames(frames); n != 0 {
			t.Errorf("%d frames although the ring was %s before", n, what)
		}
		q.Announce = announcement(t, 3)
		r.install(&q)
		if n := r.rxFrames(frames); n != 0 {
			t.Errorf("%d frames from a ring that is %s", n, what)
		}
		r.install(idle)
	}

	r.install(r.with(announcement(t, 4)))
	r.install(r.with(announcement(t, 5)))
	if n := r.rxFrames(frames); n != 1 || frames[0].Data[0][11] != 5 {
		t.Errorf("%d frames, the first from ..%x, want the later one alone", n, frames[0].Data[0][11])
	}
	r.release(1)
	if n := r.rxFrames(frames); n != 0 {
		t.Errorf("%d frames more", n)
	}
}

// A guest that has failed, or left, says nothing.
func TestAnnouncementIsLostWithItsGuest(t *testing.T) {
	frames := make([]virtionet.Frame, virtionet.MaxBurst)
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	r.install(r.with(announcement(t, 1)))
	r.Fail(errors.New("its memory vanished"))
	if n := r.rxFrames(frames); n != 0 {
		t.Errorf("%d frames from a guest that has failed", n)
	}
	r = newGuestRig(t, vringtest.Config{Size: 8}, running)
	r.install(r.with(announcement(t, 1)))
	r.Leave()
	if n := r.rxFrames(frames); n != 0 {
		t.Errorf("%d frames from a guest that no one forwards for", n)
	}
}

// Recover drops an announcement that is held like any frame.
func TestRecoverDropsAnAnnouncement(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 8}, running)
	r.install(r.with(announcement(t, 1)))
	frames := make([]virtionet.Frame, virtionet.MaxBurst)
	r.rxFrames(frames)
	r.Recover()
	r.send(t, nettest.Payload(80, 2))
	if n := r.rxFrames(frames); n != 1 || frames[0].Len != 80 {
		t.Errorf("%d frames, the first of %d bytes, want the guest's", n, frames[0].Len)
	}
	r.release(1)
	if got := r.completed(); len(got) != 1 {
		t.Errorf("%v came back", got)
	}
}
