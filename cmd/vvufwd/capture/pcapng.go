package capture

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// Block types and options of the format.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6          // enhanced
	blockFiller     = 0x80000000 // the first of those for local use, which readers pass over

	leastBlock = 12 // bytes: kind, length, and the length again

	byteOrderMagic = 0x1a2b3c4d
	linkEthernet   = 1

	optEnd         = 0
	optSectionApp  = 4
	optName        = 2
	optDescription = 3
	optResolution  = 9
	optFilter      = 11
	optFlags       = 2
	optReceived    = 4 // frames that passed the filter or not
	optDropped     = 5

	nanoseconds = 9 // as a power of ten

	directionIn, directionOut = 1, 2
)

// writer writes one section with one interface. The first error stays.
type writer struct {
	w     *bufio.Writer
	block []byte
	err   error
}

func newWriter(w io.Writer) *writer { return &writer{w: bufio.NewWriterSize(w, 1<<16)} }

// begin begins a block, and end ends and writes it.
func (w *writer) begin(kind uint32) {
	w.block = binary.LittleEndian.AppendUint32(w.block[:0], kind)
	w.u32(0) // length
}

func (w *writer) end() {
	n := uint32(len(w.block) + 4)
	binary.LittleEndian.PutUint32(w.block[4:], n)
	w.u32(n)
	if w.err == nil && len(w.block) > w.w.Available() { // whole blocks reach the file together, see filed
		w.err = w.w.Flush()
	}
	if w.err == nil {
		_, w.err = w.w.Write(w.block)
	}
}

func (w *writer) u16(v uint16) { w.block = binary.LittleEndian.AppendUint16(w.block, v) }
func (w *writer) u32(v uint32) { w.block = binary.LittleEndian.AppendUint32(w.block, v) }

// bytes appends some, padded to whole words.
func (w *writer) bytes(b []byte) {
	w.block = append(w.block, b...)
	for len(w.block)%4 != 0 {
		w.block = append(w.block, 0)
	}
}

func (w *writer) option(code uint16, value []byte) {
	w.u16(code)
	w.u16(uint16(len(value)))
	w.bytes(value)
}

// stamp appends a time: the upper half comes first.
func (w *writer) stamp(t time.Time) {
	ns := uint64(t.UnixNano())
	w.u32(uint32(ns >> 32))
	w.u32(uint32(ns))
}

// header begins the section.
func (w *writer) header(program, port, description, filter string, snapLen int) {
	w.begin(blockSection)
	w.u32(byteOrderMagic)
	w.u16(1) // version 1.0
	w.u16(0)
	w.u32(^uint32(0)) // its length is not known
	w.u32(^uint32(0))
	w.option(optSectionApp, []byte(program))
	w.option(optEnd, nil)
	w.end()

	w.begin(blockInterface)
	w.u16(linkEthernet)
	w.u16(0)
	w.u32(uint32(snapLen))
	w.option(optName, []byte(port))
	w.option(optDescription, []byte(description))
	w.option(optResolution, []byte{nanoseconds})
	if filter != "" {
		w.option(optFilter, append([]byte{0}, filter...)) // 0: an expression
	}
	w.option(optEnd, nil)
	w.end()
}

// packet writes a frame of so many bytes, of which there are data.
func (w *writer) packet(at time.Time, sent bool, length int, data []byte) {
	flags := uint32(directionIn)
	if sent {
		flags = directionOut
	}
	w.begin(blockPacket)
	w.u32(0) // interface
	w.stamp(at)
	w.u32(uint32(len(data)))
	w.u32(uint32(length))
	w.bytes(data)
	w.option(optFlags, binary.LittleEndian.AppendUint32(nil, flags))
	w.option(optEnd, nil)
	w.end()
}

// statistics says how many frames were looked at and how many were missed so far.
func (w *writer) statistics(at time.Time, seen, missed uint64) {
	w.begin(blockStatistics)
	w.u32(0) // interface
	w.stamp(at)
	w.option(optReceived, binary.LittleEndian.AppendUint64(nil, seen))
	w.option(optDropped, binary.LittleEndian.AppendUint64(nil, missed))
	w.option(optEnd, nil)
	w.end()
}

// flush has what was written reach the file.
func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}
