package vhostuser

import (
	"encoding/binary"
	"fmt"
)

// Sizes in bytes. MaxPayload is our own limit, the largest message that fits a
// page; the largest request that a net front-end sends is a table of 32 memory
// regions, 1032 bytes.
const (
	HeaderSize = 12
	MaxMessage = 4096
	MaxPayload = MaxMessage - HeaderSize
)

// Bits of Header.Flags. The lowest two hold the protocol version, always 1.
const (
	Version       uint32 = 1
	VersionMask   uint32 = 3
	FlagReply     uint32 = 1 << 2
	FlagNeedReply uint32 = 1 << 3

	// ReplyFlags are the flags of every reply. QEMU compares for equality, so a
	// reply must not echo need_reply.
	ReplyFlags = Version | FlagReply
)

// Header precedes every message: three little-endian u32.
type Header struct {
	Request Request
	Flags   uint32
	Size    uint32 // of the payload, in bytes
}

// ParseHeader reads the first HeaderSize bytes of b. It fails when b is shorter
// or when the payload announced is larger than MaxPayload; version and flags are
// the receiver's business.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("message of %d bytes is shorter than its %d-byte header", len(b), HeaderSize)
	}
	h := Header{
		Request: Request(binary.LittleEndian.Uint32(b[0:])),
		Flags:   binary.LittleEndian.Uint32(b[4:]),
		Size:    binary.LittleEndian.Uint32(b[8:]),
	}
	if h.Size > MaxPayload {
		return Header{}, fmt.Errorf("%v announces a payload of %d bytes, more than the limit of %d", h.Request, h.Size, MaxPayload)
	}
	return h, nil
}

// Append appends the header in wire form to dst.
func (h Header) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Request))
	dst = binary.LittleEndian.AppendUint32(dst, h.Flags)
	return binary.LittleEndian.AppendUint32(dst, h.Size)
}

// Message is one message of either direction.
type Message struct {
	Request Request
	Flags   uint32
	Payload []byte

	// FDs came or go with the message as ancillary data. Whoever holds the
	// Message owns them (see CloseFDs). Messages that travel through a
	// virtio-vhost-user device have none.
	FDs []int
}

// Payload is the fixed or variable body of a message in decoded form.
type Payload interface {
	// Append appends the wire form to dst.
	Append(dst []byte) []byte
}

// NewRequest builds a request without need_reply. A nil payload means none.
func NewRequest(r Request, p Payload, fds ...int) Message {
	return build(r, Version, p, fds)
}

// NewReply builds a reply to request r.
func NewReply(r Request, p Payload) Message { return build(r, ReplyFlags, p, nil) }

// Ack builds the acknowledgement of request r that REPLY_ACK asks for: zero says
// success, any other code failure.
func Ack(r Request, code uint64) Message { return NewReply(r, U64(code)) }

func build(r Request, flags uint32, p Payload, fds []int) Message {
	m := Message{Request: r, Flags: flags, FDs: fds}
	if p != nil {
		m.Payload = p.Append(nil)
	}
	return m
}

// Parse takes apart a buffer that holds exactly one message, the form in which
// messages travel through the queues of a virtio-vhost-user device. The payload
// aliases b, so b must be private memory that its writer can no longer change.
func Parse(b []byte) (Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Message{}, err
	}
	if len(b) != HeaderSize+int(h.Size) {
		return Message{}, fmt.Errorf("%v announces a payload of %d bytes but carries %d", h.Request, h.Size, len(b)-HeaderSize)
	}
	return Message{Request: h.Request, Flags: h.Flags, Payload: b[HeaderSize:len(b):len(b)]}, nil
}

// Header returns the header that goes with m.
func (m Message) Header() Header {
	return Header{Request: m.Request, Flags: m.Flags, Size: uint32(len(m.Payload))}
}

// Append appends the whole message in wire form, without its file descriptors,
// to dst.
func (m Message) Append(dst []byte) []byte {
	return append(m.Header().Append(dst), m.Payload...)
}

// NeedsReply reports whether the sender set need_reply. Only an answer when
// REPLY_ACK has been negotiated may follow from it.
func (m Message) NeedsReply() bool { return m.Flags&FlagNeedReply != 0 }

// String describes the message for logs: request, size, flags beyond the version
// and the number of file descriptors; never payload bytes.
func (m Message) String() string {
	s := fmt.Sprintf("%v (%d bytes", m.Request, len(m.Payload))
	if m.Flags&FlagReply != 0 {
		s += ", reply"
	}
	if m.NeedsReply() {
		s += ", need_reply"
	}
	if len(m.FDs) > 0 {
		s += fmt.Sprintf(", %d fds", len(m.FDs))
	}
	return s + ")"
}
