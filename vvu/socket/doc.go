// Package socket serves vhost-user front-ends over UNIX sockets: the same
// sessions and the same data path as over a virtio-vhost-user device, but with
// memory, kicks and calls that come as file descriptors. It needs no VFIO.
package socket
