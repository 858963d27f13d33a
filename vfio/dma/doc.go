// Package dma hands out memory that devices may read and write.
//
// Such memory never comes from the Go heap: it is mapped for itself, in 2 MiB
// huge pages where the kernel has some, and stays where it is until the Arena is
// closed. Every piece has two addresses, which the types keep apart: the bytes
// as this process sees them, and the IOVA as the device sees them.
package dma
