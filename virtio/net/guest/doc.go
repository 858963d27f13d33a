// Package guest is the back-end of another VM's virtio-net device (1.3, 5.1): a Port serves
// the two rings of a queue pair, whose driver, and whose memory, are the guest's and hostile.
// Which rings, and what was negotiated for them, comes from control with Install.
package guest
