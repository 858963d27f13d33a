// Package control is the device's side of a network device's control queue (virtio 1.3,
// 5.1.6.5): it takes commands out of a ring, carries them out on Settings, and
// acknowledges them. What they mean for anybody else follows from the Settings; whoever
// serves the queue sees to it before a command is acknowledged.
//
// Commands come from a guest and are hostile: of any length, in any number of
// descriptors, and changing while they are looked at. Each byte is read once, what is
// kept of them is bounded, and whatever is not understood is answered with an error.
package control
