// Package driver is the driver's side of a virtio-net device (1.3, 5.1.6), whatever the device
// is and however its queues are made known to it: queue pairs, which are Ports of a forwarder.
// Rings and frames lie in memory of our own, which the device can reach.
//
// The device may lie, and where memory is shared with one that is not trusted it may write to
// it at any time: what a ring or a header says is read once, checked, and then used.
package driver
