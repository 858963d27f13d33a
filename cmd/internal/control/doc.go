// Package control is how a running program is asked about itself: a request is a line of JSON, and so is its answer.
//
//	{"do":"version"}
//	{"data":"vvufwd …"}
//
// The same lines go through a UNIX socket, a vsock port, and a virtio-serial port of a virtual machine, where there are no connections
// and what a client has left half written is read by no one but the next. Hence a client begins with an empty line, and gives its
// requests an id, which the answer repeats. HTTP would do that no better, and net/http would add 1.9 MB, a fifth, to an initramfs.
//
// Whoever asks is not trusted: a request is short, one client has one at a time and so many in a second, there are few clients, and who
// does not take an answer is hung up on.
package control
