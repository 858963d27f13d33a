package virtionet

import "vvufwd/virtio/net/packet"

// MaxPieces is the largest number of frames into which one may ask to be cut.
const MaxPieces = maxPieces

// Layout is where the headers of f lie, if something is left undone in it.
func (f *Frame) Layout() packet.Layout { return f.layout }

// GSOOffloads are what a frame with this header needs.
func (h *Header) GSOOffloads(ipv6 bool) Offloads { return h.gsoOffloads(ipv6) }
