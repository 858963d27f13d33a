package vfiouser

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// versionHead is u16 major, u16 minor before the JSON text of VERSION.
const versionHead = 4

// capabilities are the entries of VERSION that we know. A pointer is nil where
// the sender does not name the entry.
type capabilities struct {
	MaxMsgFDs   *uint64 `json:"max_msg_fds,omitempty"`
	MaxTransfer *uint64 `json:"max_data_xfer_size,omitempty"`
	MaxDMAMaps  *uint64 `json:"max_dma_maps,omitempty"`
}

type versionData struct {
	Capabilities capabilities `json:"capabilities"`
}

// negotiate answers VERSION. The reply must not name a minor version or a
// capability that the client did not propose; QEMU refuses any version but 0.0.
func negotiate(p []byte) ([]byte, error) {
	if len(p) < versionHead {
		return nil, fmt.Errorf("VERSION of %d bytes is too short", len(p))
	}
	if major := binary.LittleEndian.Uint16(p); major != 0 {
		return nil, fmt.Errorf("client speaks vfio-user version %d, only version 0 is known", major)
	}
	var theirs versionData
	if text := bytes.TrimRight(p[versionHead:], "\x00"); len(text) > 0 {
		if err := json.Unmarshal(text, &theirs); err != nil {
			return nil, fmt.Errorf("VERSION capabilities: %w", err)
		}
	}
	var ours versionData
	answer := func(mine **uint64, their *uint64, value uint64) {
		if their != nil {
			*mine = &value
		}
	}
	answer(&ours.Capabilities.MaxMsgFDs, theirs.Capabilities.MaxMsgFDs, MaxFDs)
	answer(&ours.Capabilities.MaxTransfer, theirs.Capabilities.MaxTransfer, MaxTransfer)
	answer(&ours.Capabilities.MaxDMAMaps, theirs.Capabilities.MaxDMAMaps, MaxDMAMaps)
	text, err := json.Marshal(ours)
	if err != nil {
		return nil, err
	}
	out := make([]byte, versionHead, versionHead+len(text)+1)
	return append(append(out, text...), 0), nil
}
