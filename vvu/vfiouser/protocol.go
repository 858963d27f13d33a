package vfiouser

import (
	"encoding/binary"
	"fmt"
)

// Command is the number of a vfio-user message.
type Command uint16

// Commands that a client sends.
const (
	CmdVersion        Command = 1
	CmdDMAMap         Command = 2
	CmdDMAUnmap       Command = 3
	CmdGetInfo        Command = 4
	CmdGetRegionInfo  Command = 5
	CmdGetRegionIOFDs Command = 6
	CmdGetIRQInfo     Command = 7
	CmdSetIRQs        Command = 8
	CmdRegionRead     Command = 9
	CmdRegionWrite    Command = 10
	CmdReset          Command = 13
	CmdWriteMulti     Command = 15
	CmdFeature        Command = 16
)

var commandNames = map[Command]string{
	CmdVersion: "VERSION", CmdDMAMap: "DMA_MAP", CmdDMAUnmap: "DMA_UNMAP",
	CmdGetInfo: "DEVICE_GET_INFO", CmdGetRegionInfo: "DEVICE_GET_REGION_INFO",
	CmdGetRegionIOFDs: "DEVICE_GET_REGION_IO_FDS", CmdGetIRQInfo: "DEVICE_GET_IRQ_INFO",
	CmdSetIRQs: "DEVICE_SET_IRQS", CmdRegionRead: "REGION_READ", CmdRegionWrite: "REGION_WRITE",
	CmdReset: "DEVICE_RESET", CmdWriteMulti: "REGION_WRITE_MULTI", CmdFeature: "DEVICE_FEATURE",
}

// String names the command as the specification does, without its prefix.
func (c Command) String() string {
	if name, ok := commandNames[c]; ok {
		return name
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// Header flags.
const (
	flagTypeMask uint32 = 0xf // 0 command, 1 reply
	flagReply    uint32 = 1
	flagNoReply  uint32 = 1 << 4
	flagError    uint32 = 1 << 5
)

// Limits of one message.
const (
	headerSize = 16
	accessSize = 16 // u64 offset, u32 region, u32 count before the data

	// MaxTransfer is the largest number of bytes in one region access, and by
	// that the bound of any message: the protocol's default of max_data_xfer_size.
	MaxTransfer = 1 << 20

	// MaxFDs is how many file descriptors one message may carry; QEMU takes no
	// larger announcement.
	MaxFDs = 16

	maxMessage = headerSize + accessSize + MaxTransfer
)

// header is the 16 bytes before every message.
type header struct {
	ID      uint16
	Command Command
	Size    uint32 // of the whole message, header included
	Flags   uint32
	Errno   uint32 // in replies with flagError
}

func parseHeader(b *[headerSize]byte) header {
	le := binary.LittleEndian
	return header{
		ID: le.Uint16(b[0:]), Command: Command(le.Uint16(b[2:])),
		Size: le.Uint32(b[4:]), Flags: le.Uint32(b[8:]), Errno: le.Uint32(b[12:]),
	}
}

func (h header) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], h.ID)
	le.PutUint16(b[2:], uint16(h.Command))
	le.PutUint32(b[4:], h.Size)
	le.PutUint32(b[8:], h.Flags)
	le.PutUint32(b[12:], h.Errno)
}

// dmaMap is the payload of DMA_MAP, 32 bytes.
type dmaMap struct {
	Flags  uint32 // bit 0 readable, bit 1 writable
	Offset uint64 // in the file that comes with the message
	Addr   uint64 // IOVA
	Size   uint64
}

const dmaMapSize = 32

func parseDMAMap(p []byte) (m dmaMap, ok bool) {
	if len(p) < dmaMapSize {
		return m, false
	}
	le := binary.LittleEndian
	return dmaMap{
		Flags: le.Uint32(p[4:]), Offset: le.Uint64(p[8:]),
		Addr: le.Uint64(p[16:]), Size: le.Uint64(p[24:]),
	}, true
}

// dmaUnmap is the payload of DMA_UNMAP, 24 bytes.
type dmaUnmap struct {
	Flags uint32
	Addr  uint64
	Size  uint64
}

const (
	dmaUnmapSize = 24

	unmapDirtyBitmap uint32 = 1 << 0 // not supported
	unmapAll         uint32 = 1 << 1 // address and size do not count
)

func parseDMAUnmap(p []byte) (m dmaUnmap, ok bool) {
	if len(p) < dmaUnmapSize {
		return m, false
	}
	le := binary.LittleEndian
	return dmaUnmap{Flags: le.Uint32(p[4:]), Addr: le.Uint64(p[8:]), Size: le.Uint64(p[16:])}, true
}

// access is the head of REGION_READ and REGION_WRITE.
type access struct {
	Offset uint64
	Region uint32
	Count  uint32
}

func parseAccess(p []byte) (a access, ok bool) {
	if len(p) < accessSize {
		return a, false
	}
	le := binary.LittleEndian
	return access{Offset: le.Uint64(p[0:]), Region: le.Uint32(p[8:]), Count: le.Uint32(p[12:])}, true
}

func (a access) put(p []byte) {
	le := binary.LittleEndian
	le.PutUint64(p[0:], a.Offset)
	le.PutUint32(p[8:], a.Region)
	le.PutUint32(p[12:], a.Count)
}

// irqSet is the head of DEVICE_SET_IRQS, 20 bytes.
type irqSet struct {
	Flags uint32
	Index uint32
	Start uint32
	Count uint32
	Data  []byte // one byte per interrupt with irqDataBool
}

const irqSetSize = 20

// Flags of irqSet: one of each group.
const (
	irqDataNone    uint32 = 1 << 0
	irqDataBool    uint32 = 1 << 1
	irqDataEventFD uint32 = 1 << 2
	irqMask        uint32 = 1 << 3
	irqUnmask      uint32 = 1 << 4
	irqTrigger     uint32 = 1 << 5
)

func parseIRQSet(p []byte) (s irqSet, ok bool) {
	if len(p) < irqSetSize {
		return s, false
	}
	le := binary.LittleEndian
	return irqSet{
		Flags: le.Uint32(p[4:]), Index: le.Uint32(p[8:]),
		Start: le.Uint32(p[12:]), Count: le.Uint32(p[16:]), Data: p[irqSetSize:],
	}, true
}
