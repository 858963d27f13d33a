package vhostuser

import (
	"encoding/binary"
	"fmt"
)

// EffectKind says what a message changed for the data path.
type EffectKind uint8

// Kinds of effects. "Ring(i)" is the state after the message.
const (
	// EffectReset: session state was dropped. Stop every ring (none is Ready any
	// more) and unmap the guest's memory.
	EffectReset EffectKind = iota + 1
	// EffectFeatures: the negotiated virtio features changed, and with them
	// perhaps the header size and the form of the rings. Running rings, if any,
	// must follow.
	EffectFeatures
	// EffectMemory: the memory table was replaced by Regions(), possibly by
	// nothing. Drop every translated address, then translate all Ready rings
	// again; a ring that no longer translates is stopped until the next table.
	EffectMemory
	// EffectRegions: a region was added to the memory table, or one was removed, which
	// gives Regions(). All others lie where they lay: rings that have no part in a region
	// that is gone go on running. If a new region cannot be mapped call RestoreMemory.
	EffectRegions
	// EffectRing: Ring(Index) changed: readiness, enable flag, addresses, kick
	// or call. Make the data path's ring what Ring(Index) says. It is also sent
	// for rings that are not Ready when their kick or call changed, so that
	// transports with file descriptors learn of every one of them.
	EffectRing
	// EffectStop: the front-end asks where ring Index stands. Stop the ring; when
	// no access to guest memory and no interrupt can follow any more, call
	// Stopped with its position and send the reply that it returns.
	EffectStop
	// EffectSignal: raise ring Index's guest interrupt once, whatever the ring's
	// suppression fields say. The ring ran before its call was known, so a used
	// buffer may be waiting that no one was told of.
	EffectSignal
	// EffectMTU: the front-end set the MTU to Value (NET_SET_MTU).
	EffectMTU
	// EffectAnnounce: broadcast a RARP packet for MAC() on behalf of the guest
	// (SEND_RARP).
	EffectAnnounce
	// EffectLog: another log came, see Log. Rings go on. Before the answer is sent nothing may
	// be marked in the log before, and everything in this one.
	EffectLog
	// EffectLogging: writes have to be marked from now on, or not any more: see Logging. Rings
	// go on.
	EffectLogging
	// EffectInflightNew: the front-end asks for memory to track rings in, zeroed, in a file
	// (see Inflight). Make it, and send InflightReply.
	EffectInflightNew
	// EffectInflight: rings that start from now on are to be tracked in the memory whose
	// file came with the message.
	EffectInflight
	// EffectConfig: the guest wrote the device's configuration space (MAC).
	EffectConfig
)

var effectNames = [...]string{
	EffectReset: "reset", EffectFeatures: "features", EffectMemory: "memory", EffectRegions: "regions", EffectRing: "ring", EffectStop: "stop",
	EffectSignal: "signal", EffectMTU: "mtu", EffectAnnounce: "announce", EffectLog: "log", EffectLogging: "logging",
	EffectInflightNew: "inflight memory", EffectInflight: "inflight", EffectConfig: "config",
}

func (k EffectKind) String() string {
	if int(k) < len(effectNames) && effectNames[k] != "" {
		return effectNames[k]
	}
	return fmt.Sprintf("effect %d", uint8(k))
}

// Effect is one consequence of a message for the data path.
type Effect struct {
	Kind  EffectKind
	Index int    // of the ring, for EffectRing, EffectStop and EffectSignal; less than BackendConfig.Rings
	Value uint64 // for EffectMTU and EffectAnnounce
}

// MAC returns the address of an EffectAnnounce.
func (e Effect) MAC() (mac [6]byte) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], e.Value)
	copy(mac[:], b[:])
	return mac
}

// String shows the effect as "ring 1", "mtu 1500", "memory".
func (e Effect) String() string {
	switch e.Kind {
	case EffectRing, EffectStop, EffectSignal:
		return fmt.Sprintf("%v %d", e.Kind, e.Index)
	case EffectMTU:
		return fmt.Sprintf("%v %d", e.Kind, e.Value)
	case EffectAnnounce:
		return fmt.Sprintf("%v %x", e.Kind, e.MAC())
	}
	return e.Kind.String()
}
