// Package tap opens TAP and macvtap devices as ports. Each frame passes with a virtio-net
// header, by a system call of its own.
//
// Open takes privileges, for a device that is made or has an owner; New does not.
package tap
