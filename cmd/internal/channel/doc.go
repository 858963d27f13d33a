// Package channel is about places where a program is met by those who want to ask it something, or to read from it, once it has given
// up its privileges: UNIX sockets, vsock ports, TCP ports, and virtio-serial ports of a virtual machine. They are opened before, and
// handed over as files. Of package net nothing is used but names of addresses: what its connections do besides reading and
// writing, a confined program is refused.
package channel
