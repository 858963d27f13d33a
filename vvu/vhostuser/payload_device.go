package vhostuser

import (
	"encoding/binary"
	"fmt"
)

// Log is the payload of SET_LOG_BASE: the dirty-page bitmap in a shared file.
type Log struct {
	Size   uint64
	Offset uint64
}

// Decode reads the payload; it must be exactly LogSize bytes.
func (l *Log) Decode(b []byte) error {
	if err := checkSize("log", b, LogSize); err != nil {
		return err
	}
	l.Size = binary.LittleEndian.Uint64(b[0:])
	l.Offset = binary.LittleEndian.Uint64(b[8:])
	return nil
}

// Append implements Payload.
func (l Log) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, l.Size)
	return binary.LittleEndian.AppendUint64(dst, l.Offset)
}

// Inflight is the payload of GET_INFLIGHT_FD and SET_INFLIGHT_FD: the area in
// which a back-end remembers descriptors it has not completed.
type Inflight struct {
	Size      uint64
	Offset    uint64
	Queues    uint16
	QueueSize uint16
}

// Decode reads the payload; it must be InflightSize bytes, or 20 without the
// padding that the C structure has at its end.
func (f *Inflight) Decode(b []byte) error {
	const unpadded = 20
	if len(b) != InflightSize && len(b) != unpadded {
		return fmt.Errorf("inflight payload is %d bytes, want %d or %d", len(b), unpadded, InflightSize)
	}
	f.Size = binary.LittleEndian.Uint64(b[0:])
	f.Offset = binary.LittleEndian.Uint64(b[8:])
	f.Queues = binary.LittleEndian.Uint16(b[16:])
	f.QueueSize = binary.LittleEndian.Uint16(b[18:])
	return nil
}

// Append implements Payload.
func (f Inflight) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, f.Size)
	dst = binary.LittleEndian.AppendUint64(dst, f.Offset)
	dst = binary.LittleEndian.AppendUint16(dst, f.Queues)
	dst = binary.LittleEndian.AppendUint16(dst, f.QueueSize)
	return append(dst, 0, 0, 0, 0)
}

// MaxConfigSize is the largest device configuration space in bytes
// (VHOST_USER_MAX_CONFIG_SIZE).
const MaxConfigSize = 256

// maxConfigData is how many bytes of configuration fit a message.
const maxConfigData = MaxPayload - ConfigHeaderSize

// Config is the payload of GET_CONFIG and SET_CONFIG: a piece of the device's
// configuration space. On the wire it is u32 offset, u32 size, u32 flags, bytes.
type Config struct {
	Offset uint32
	Flags  uint32 // 0: fields the driver may write; 1: live migration
	Data   []byte // aliases the message after Decode
}

// Decode reads the payload; the size field must be that of the bytes that follow.
// Where the piece lies is not checked.
func (c *Config) Decode(b []byte) error {
	offset, size, err := decodeConfigQuestion(b)
	switch {
	case err != nil:
		return err
	case uint64(len(b)) != ConfigHeaderSize+uint64(size):
		return fmt.Errorf("config payload announces %d bytes but carries %d", size, len(b)-ConfigHeaderSize)
	}
	*c = Config{Offset: offset, Flags: configFlags(b), Data: b[ConfigHeaderSize:len(b):len(b)]}
	return nil
}

// decodeConfigQuestion reads what GET_CONFIG asks for. Bytes follow to the number asked
// for, or none.
func decodeConfigQuestion(b []byte) (offset, size uint32, err error) {
	if len(b) < ConfigHeaderSize {
		return 0, 0, fmt.Errorf("config payload is %d bytes, want at least %d", len(b), ConfigHeaderSize)
	}
	offset, size = binary.LittleEndian.Uint32(b[0:]), binary.LittleEndian.Uint32(b[4:])
	if n := len(b) - ConfigHeaderSize; n != 0 && uint64(n) != uint64(size) {
		return 0, 0, fmt.Errorf("config payload announces %d bytes but carries %d", size, n)
	}
	return offset, size, nil
}

// configFlags reads the flags of a payload that decodeConfigQuestion has accepted.
func configFlags(b []byte) uint32 { return binary.LittleEndian.Uint32(b[8:]) }

// Append implements Payload.
func (c Config) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, c.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Data)))
	dst = binary.LittleEndian.AppendUint32(dst, c.Flags)
	return append(dst, c.Data...)
}
