package packet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

const headerLen = virtionet.LegacyHeaderLen

// beforeAux is where the control message of a frame is, in bytes before it.
const beforeAux = 128

// wire is a packet socket.
type wire struct {
	fd int

	// One piece of memory for each: the kernel has a shorter way for that, to receive 64 bytes takes a fifth less.
	rx, tx         [netdev.Burst]unix.Mmsghdr
	rxVecs, txVecs [netdev.Burst]unix.Iovec
	used           int // of rx, by the last Read; -1: it was not prepared
}

func newWire(fd int) *wire { return &wire{fd: fd, used: -1} }

// HeaderLen is netdev.Wire's.
func (w *wire) HeaderLen() int { return headerLen }

// FD is netdev.Wire's.
func (w *wire) FD() int { return w.fd }

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

// badReads is how many frames that the kernel cannot describe one Read passes over.
const badReads = 8

// Read is netdev.Wire's.
func (w *wire) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	if w.used < 0 {
		w.prepare(frames)
		w.used = 0
	}
	for i := range w.used {
		w.rx[i].Hdr.SetControllen(auxdataLen)
		w.rx[i].Hdr.Flags = 0
	}
	for {
		// An error that comes after frames comes again with the next call.
		if n, errno = recvmmsg(w.fd, w.rx[:]); errno != unix.EINVAL || lost == badReads {
			break
		}
		lost++ // such as a large segment of a kind that has no virtio-net header
	}
	w.used = n
	for i := range n {
		w.describe(i, &slots[i], frames[i])
	}
	return n, lost, errno
}

// describe fills the slot of frame i, with its VLAN tag put back where it was.
func (w *wire) describe(i int, s *netdev.Slot, frame uint64) {
	m := &w.rx[i]
	*s = netdev.Slot{Header: frame - headerLen, Frame: frame, Len: uint32(max(0, int(m.Len)-headerLen))}
	if m.Hdr.Flags&unix.MSG_TRUNC != 0 {
		s.Len = netdev.FrameRoom
		return
	}
	aux := auxdataAt(frame - beforeAux)
	if int(m.Hdr.Controllen) < auxdataLen || aux.header.Level != unix.SOL_PACKET || aux.header.Type != unix.PACKET_AUXDATA ||
		aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || s.Len < virtionet.MinFrame {
		return
	}
	protocol := uint16(unix.ETH_P_8021Q)
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		protocol = aux.Vlan_tpid
	}
	s.Header -= tagLen
	s.Frame -= tagLen
	s.Len += tagLen
	move(s.Header, s.Header+tagLen, headerLen+virtionet.AddressBytes)
	tag := bytes(s.Frame+virtionet.AddressBytes, tagLen)
	binary.BigEndian.PutUint16(tag, protocol)
	binary.BigEndian.PutUint16(tag[2:], aux.Vlan_tci)
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
