// Package peer starts and stops what is measured: forwarders between pairs of
// vhost-user sockets, on one CPU, that poll for ever. Testpmd is one, vvufwd the
// other.
package peer
