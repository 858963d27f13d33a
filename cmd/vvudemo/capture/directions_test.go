package capture

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// block is one of a pcapng file.
func block(kind uint32, body ...byte) []byte {
	n := uint32(len(body) + 12)
	b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, kind), n)
	return binary.LittleEndian.AppendUint32(append(b, body...), n)
}

func packetOf(direction byte, data ...byte) []byte {
	body := binary.LittleEndian.AppendUint32(make([]byte, 12), uint32(len(data)))
	body = append(append(body, 0, 0, 0, 0), data...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return block(packetBlock, append(body, 99, 0, 1, 0, 7, 0, 0, 0, flagsOption, 0, 4, 0, direction, 0, 0, 0, 0, 0, 0, 0)...)
}

func TestDirections(t *testing.T) {
	file := bytes.Join([][]byte{
		block(0x0a0d0d0a, make([]byte, 16)...), packetOf(1, 1, 2, 3), packetOf(2, 1), packetOf(1),
		block(statisticsBlock, append(make([]byte, 12), droppedOption, 0, 8, 0, 9, 1, 0, 0, 0, 0, 0, 0)...),
	}, nil)
	var d Directions
	if err := d.read(bytes.NewReader(file)); err != nil || d != (Directions{In: 2, Out: 1, Missed: 265}) {
		t.Errorf("%+v, %v", d, err)
	}
	for name, text := range map[string][]byte{
		"empty": nil, "cut": file[:len(file)-3], "a packet without a direction": block(packetBlock, make([]byte, 20)...),
		"too long": append(block(1), 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), "a short packet": block(packetBlock, 1, 2, 3, 4),
		"data beyond its end": block(packetBlock, append(make([]byte, 12), 9, 0, 0, 0, 0, 0, 0, 0)...),
	} {
		if err := d.read(strings.NewReader(string(text))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
