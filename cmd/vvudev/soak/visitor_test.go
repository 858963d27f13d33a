package soak

import (
	"encoding/binary"
	"math/rand/v2"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// visitor is a guest behind a hostile front-end.
type visitor struct {
	*vvutest.App
	rnd *rand.Rand
}

// rawPayload is a payload of any bytes.
type rawPayload []byte

// Append implements vhostuser.Payload.
func (p rawPayload) Append(dst []byte) []byte { return append(dst, p...) }

// encode writes a message as it is on the wire.
func encode(m vhostuser.Message) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(m.Request))
	b = binary.LittleEndian.AppendUint32(b, m.Flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Payload)))
	return append(b, m.Payload...)
}
