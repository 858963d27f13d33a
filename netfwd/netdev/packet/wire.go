package packet

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

const headerLen = virtionet.LegacyHeaderLen

// beforeAux is where the control message of a frame is, in bytes before it.
const beforeAux = 128

// wire is a packet socket with a ring, and one in reserve.
type wire struct {
	fd      int
	reserve int
	ring    ring

	resorted atomic.Bool // the one in reserve receives
	seen     overseer

	// Of calls, one piece of memory for each frame: the kernel has a shorter way for that.
	rx, tx         [netdev.Burst]unix.Mmsghdr
	rxVecs, txVecs [netdev.Burst]unix.Iovec
	ready          bool // rx was prepared
}

// newWire takes over two sockets.
func newWire(fd, reserve int) *wire { return &wire{fd: fd, reserve: reserve} }

// HeaderLen is netdev.Wire's.
func (w *wire) HeaderLen() int { return headerLen }

// FD is netdev.Wire's.
func (w *wire) FD() int { return w.fd }

// FurtherFD is netdev.Wire's.
func (w *wire) FurtherFD() int { return w.reserve }

// prepare lays out what is read.
func (w *wire) prepare(frames *[netdev.Burst]uint64) {
	for i := range w.rx {
		v := &w.rxVecs[i]
		v.Base = at(frames[i] - headerLen)
		v.SetLen(headerLen + netdev.FrameRoom)
		h := &w.rx[i].Hdr
		h.Iov = v
		h.SetIovlen(1)
		h.Control = at(frames[i] - beforeAux)
		h.SetControllen(auxdataLen)
	}
}

// Read is netdev.Wire's. Frames stay in the ring until they are Done.
func (w *wire) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	if !w.ready {
		w.prepare(frames)
		w.ready = true
	}
	w.ring.giveBack()
	for total := uint32(0); n < len(slots) && total < netdev.Lot; {
		at := w.ring.next()
		if at == 0 {
			break
		}
		w.ring.held++
		switch s := &slots[n]; w.fromRing(at, s) {
		case whole:
		case beside:
			if got, _, _ := w.receive(w.fd, n, n+1, slots, frames); got == 0 {
				lost++
				continue
			}
		case cut:
			w.ring.short.Add(1)
			continue
		case impossible:
			lost++
			continue
		}
		total += slots[n].Len
		n++
	}
	if n == 0 && w.resorted.Load() {
		return w.receive(w.reserve, 0, len(slots), slots, frames)
	}
	return n, lost, 0
}

// Done is netdev.Wire's.
func (w *wire) Done() { w.ring.giveBack() }

// Where the frame of a slot is.
type found uint8

const (
	whole      found = iota // in the slot
	beside                  // the first one that waits in the socket
	cut                     // only its beginning: there was no room
	impossible              // the kernel does not say such a thing
)

// fromRing describes the frame in the slot at an address.
func (w *wire) fromRing(at uint64, s *netdev.Slot) found {
	h := headerAt(at)
	switch mac := h.Mac; {
	case h.Status&unix.TP_STATUS_COPY != 0:
		return beside
	case mac < beforeMac || uint64(mac)+uint64(h.Snaplen) > slotBytes:
		return impossible
	case h.Snaplen < h.Len:
		return cut
	}
	frame := at + uint64(h.Mac)
	*s = netdev.Slot{Header: frame - headerLen, Frame: frame, Len: h.Snaplen}
	if h.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		untake(s, h.Status, h.Vlan_tci, h.Vlan_tpid)
	}
	return whole
}

// badReads is how many frames that the kernel cannot describe one call passes over.
const badReads = 8

// receive reads frames by a call, for slots from first on to end-1: those that wait in the socket with the ring, or what is in
// the one in reserve.
func (w *wire) receive(fd, first, end int, slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	list := w.rx[first:end]
	for i := range list {
		list[i].Hdr.SetControllen(auxdataLen)
		list[i].Hdr.Flags = 0
	}
	for {
		// An error that comes after frames comes again with the next call.
		if n, errno = recvmmsg(fd, list); errno != unix.EINVAL || lost == badReads {
			break
		}
		lost++ // such as a large segment of a kind that has no virtio-net header
	}
	for i := first; i < first+n; i++ {
		w.describe(i, &slots[i], frames[i])
	}
	return n, lost, errno
}

// describe fills the slot of frame i, which was read by a call.
func (w *wire) describe(i int, s *netdev.Slot, frame uint64) {
	m := &w.rx[i]
	*s = netdev.Slot{Header: frame - headerLen, Frame: frame, Len: uint32(max(0, int(m.Len)-headerLen))}
	if m.Hdr.Flags&unix.MSG_TRUNC != 0 {
		s.Len = netdev.FrameRoom
		return
	}
	aux := auxdataAt(frame - beforeAux)
	if int(m.Hdr.Controllen) < auxdataLen || aux.header.Level != unix.SOL_PACKET || aux.header.Type != unix.PACKET_AUXDATA ||
		aux.Status&unix.TP_STATUS_VLAN_VALID == 0 {
		return
	}
	untake(s, aux.Status, aux.Vlan_tci, aux.Vlan_tpid)
}

// untake puts a VLAN tag back where it was before the kernel took it.
func untake(s *netdev.Slot, status uint32, tci, protocol uint16) {
	if s.Len < virtionet.MinFrame {
		return
	}
	if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		protocol = unix.ETH_P_8021Q
	}
	s.Header -= tagLen
	s.Frame -= tagLen
	s.Len += tagLen
	move(s.Header, s.Header+tagLen, headerLen+virtionet.AddressBytes)
	tag := bytes(s.Frame+virtionet.AddressBytes, tagLen)
	binary.BigEndian.PutUint16(tag, protocol)
	binary.BigEndian.PutUint16(tag[2:], tci)
	h := bytes(s.Header, headerLen)
	if h[0]&virtionet.FlagNeedsCsum != 0 {
		start := h[csumStartOffset:]
		binary.LittleEndian.PutUint16(start, binary.LittleEndian.Uint16(start)+tagLen)
	}
}

// Of a VLAN tag, and of the field in a header that says where a checksum begins.
const (
	tagLen          = 4
	csumStartOffset = 6
)

// Write is netdev.Wire's.
func (w *wire) Write(slots []netdev.Slot) (n int, errno unix.Errno) {
	for i := range slots {
		v := &w.txVecs[i]
		v.Base = at(slots[i].Header)
		v.SetLen(headerLen + int(slots[i].Len))
		w.tx[i].Hdr.Iov = v
		w.tx[i].Hdr.SetIovlen(1)
	}
	return sendmmsg(w.fd, w.tx[:len(slots)])
}
