// Package load puts load on a forwarder and says what came out of it: vvugen's,
// and for a second opinion that of testpmd's virtio-user ports.
package load
