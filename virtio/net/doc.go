// Package virtionet is what both ends of a network device of virtio (1.3, 5.1) have in
// common: frames, in bursts, their virtio-net header with the
// offloads that it speaks of, and counters. Package guest serves the rings of another VM's
// virtio-net driver, package driver is that for a device, and package virtionic drives one on PCI;
// a forwarder can join any two ports of either kind.
//
// A frame is copied once: from the buffer in which it arrived to the buffer in
// which it leaves. Receive describes what is in the first ones, Transmit copies it, Release
// gives them back.
package virtionet
