package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Directions is what a pcapng file of vvufwd's holds.
type Directions struct {
	File   string `json:"file"`
	In     uint64 `json:"in"` // frames received from the port
	Out    uint64 `json:"out"`
	Missed uint64 `json:"missed"`
}

// Blocks and options of pcapng (draft-ietf-opsawg-pcapng) that count here.
const (
	statisticsBlock = 5
	packetBlock     = 6

	flagsOption   = 2 // of a packet: its low 2 bits are the direction
	droppedOption = 5 // of statistics
)

// maxBlock is longer than any block of one frame.
const maxBlock = 1 << 20

// ReadDirections reads such a file: gopacket's reader passes over directions.
func ReadDirections(file string) (*Directions, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	d := &Directions{File: file}
	if err := d.read(f); err != nil {
		return nil, fmt.Errorf("read the capture %s: %w", file, err)
	}
	return d, nil
}

func (d *Directions) read(r io.Reader) error {
	head := make([]byte, 8)
	for blocks := 0; ; blocks++ {
		if _, err := io.ReadFull(r, head); errors.Is(err, io.EOF) && blocks > 0 {
			return nil
		} else if err != nil {
			return err
		}
		kind, length := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if length < 12 || length > maxBlock {
			return fmt.Errorf("block %d has %d bytes", blocks, length)
		}
		body := make([]byte, length-8)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if err := d.block(kind, body[:len(body)-4]); err != nil {
			return fmt.Errorf("block %d: %w", blocks, err)
		}
	}
}

var errShort = errors.New("it is too short")

func (d *Directions) block(kind uint32, body []byte) error {
	switch kind {
	case packetBlock:
		if len(body) < 20 {
			return errShort
		}
		data := (int(binary.LittleEndian.Uint32(body[12:])) + 3) &^ 3
		if 20+data > len(body) {
			return errShort
		}
		switch flags := option(body[20+data:], flagsOption); {
		case len(flags) != 4:
			return errors.New("it has no direction")
		case flags[0]&3 == 1:
			d.In++
		case flags[0]&3 == 2:
			d.Out++
		}
	case statisticsBlock:
		if len(body) < 12 {
			return errShort
		}
		if dropped := option(body[12:], droppedOption); len(dropped) == 8 {
			d.Missed = binary.LittleEndian.Uint64(dropped)
		}
	}
	return nil
}

// option finds the value of an option, or nil.
func option(list []byte, code uint16) []byte {
	for len(list) >= 4 {
		n := int(binary.LittleEndian.Uint16(list[2:]))
		if 4+n > len(list) {
			return nil
		}
		if binary.LittleEndian.Uint16(list) == code {
			return list[4 : 4+n]
		}
		list = list[min(len(list), 4+(n+3)&^3):]
	}
	return nil
}
