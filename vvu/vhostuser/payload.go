package vhostuser

import (
	"encoding/binary"
	"fmt"
)

// Sizes of the payloads in bytes, as they are on the wire (packed, little-endian).
const (
	U64Size          = 8
	VringStateSize   = 8
	VringAddrSize    = 40
	LogSize          = 16
	InflightSize     = 24
	ConfigHeaderSize = 12
)

// checkSize is the length check that every Decode starts with.
func checkSize(what string, b []byte, want int) error {
	if len(b) != want {
		return fmt.Errorf("%s payload is %d bytes, want %d", what, len(b), want)
	}
	return nil
}

// U64 is the payload of feature sets, counts, acknowledgements and others.
type U64 uint64

// Decode reads the payload; it must be exactly U64Size bytes.
func (v *U64) Decode(b []byte) error {
	if err := checkSize("u64", b, U64Size); err != nil {
		return err
	}
	*v = U64(binary.LittleEndian.Uint64(b))
	return nil
}

// Append implements Payload.
func (v U64) Append(dst []byte) []byte { return binary.LittleEndian.AppendUint64(dst, uint64(v)) }

// VringState is the payload of SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE,
// SET_VRING_ENABLE and SET_VRING_ENDIAN (struct vhost_vring_state).
type VringState struct {
	Index uint32
	Num   uint32 // ring size, index, 0 or 1, by request
}

// Decode reads the payload; it must be exactly VringStateSize bytes.
func (v *VringState) Decode(b []byte) error {
	if err := checkSize("vring state", b, VringStateSize); err != nil {
		return err
	}
	v.Index = binary.LittleEndian.Uint32(b[0:])
	v.Num = binary.LittleEndian.Uint32(b[4:])
	return nil
}

// Append implements Payload.
func (v VringState) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, v.Index)
	return binary.LittleEndian.AppendUint32(dst, v.Num)
}

// VringAddrLog in VringAddr.Flags asks for used-ring writes to be logged.
const VringAddrLog uint32 = 1 << 0

// VringAddr is the payload of SET_VRING_ADDR (struct vhost_vring_addr). The
// addresses are in the front-end's own address space, or IOVAs when
// ACCESS_PLATFORM was negotiated; Log is guest-physical. For packed rings Avail
// is the driver and Used the device event area.
type VringAddr struct {
	Index uint32
	Flags uint32
	Desc  uint64
	Used  uint64 // precedes Avail on the wire
	Avail uint64
	Log   uint64
}

// Decode reads the payload; it must be exactly VringAddrSize bytes.
func (v *VringAddr) Decode(b []byte) error {
	if err := checkSize("vring address", b, VringAddrSize); err != nil {
		return err
	}
	v.Index = binary.LittleEndian.Uint32(b[0:])
	v.Flags = binary.LittleEndian.Uint32(b[4:])
	v.Desc = binary.LittleEndian.Uint64(b[8:])
	v.Used = binary.LittleEndian.Uint64(b[16:])
	v.Avail = binary.LittleEndian.Uint64(b[24:])
	v.Log = binary.LittleEndian.Uint64(b[32:])
	return nil
}

// Append implements Payload.
func (v VringAddr) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, v.Index)
	dst = binary.LittleEndian.AppendUint32(dst, v.Flags)
	for _, addr := range [...]uint64{v.Desc, v.Used, v.Avail, v.Log} {
		dst = binary.LittleEndian.AppendUint64(dst, addr)
	}
	return dst
}

// VringFD is the payload of SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR: a
// u64 with the index in bits 0-7 and NoFD in bit 8.
type VringFD struct {
	Index uint8
	NoFD  bool // no file descriptor comes with the message: poll, or do not signal
}

const vringNoFD = 1 << 8

// Decode reads the payload; it must be exactly U64Size bytes and have no bit set
// that the protocol does not define.
func (v *VringFD) Decode(b []byte) error {
	var u U64
	if err := u.Decode(b); err != nil {
		return err
	}
	if u > vringNoFD|0xff {
		return fmt.Errorf("vring file descriptor payload %#x has bits beyond index (0-7) and no-fd (8)", uint64(u))
	}
	v.Index, v.NoFD = uint8(u), u&vringNoFD != 0
	return nil
}

// Append implements Payload.
func (v VringFD) Append(dst []byte) []byte {
	u := U64(v.Index)
	if v.NoFD {
		u |= vringNoFD
	}
	return u.Append(dst)
}
