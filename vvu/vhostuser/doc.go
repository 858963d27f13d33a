// Package vhostuser speaks the vhost-user protocol, by which a virtual machine
// monitor (the front-end) hands the rings of a virtio device to another program
// (the back-end).
//
// It has four parts that know as little of each other as they can:
//
//   - the codec: [Parse], [Message] and the payload types. Pure.
//   - [Backend], the back-end's state machine. Pure: a message goes in, a reply
//     and a list of effects come out; the caller applies the effects to its data
//     path and its memory mappings. It serves sockets and the message queues of
//     a virtio-vhost-user device alike, and is tested without either.
//   - [Frontend] with one [Style] per known front-end: it plays the message
//     orders of QEMU, DPDK virtio-user, cloud-hypervisor and crosvm.
//   - [Conn], the transport over a UNIX stream socket with file descriptors as
//     ancillary data. This is the only part that knows file descriptors.
//
// A back-end's loop:
//
//	m, err := conn.ReadMessage()              // or: m, err := vhostuser.Parse(buffer)
//	reply, effects, err := backend.Handle(m)
//	for _, e := range effects {               // also when err != nil
//		if e.Kind == vhostuser.EffectStop {
//			r := backend.Stopped(e.Index, stopRing(e.Index))
//			reply = &r
//			continue
//		}
//		apply(e)
//	}
//	if reply != nil {
//		conn.WriteMessage(*reply)         // after the effects are visible
//	}
//
// Messages are little-endian whatever the guest is. All numbers that arrive are
// the choice of a possibly hostile peer; everything here is bounded by what has
// been configured, and nothing panics on any input.
//
// The words are those of the protocol text, except that ring direction is named
// from the guest's side: ring 2k is the guest's receive queue, which the
// back-end fills, and ring 2k+1 its transmit queue.
package vhostuser
