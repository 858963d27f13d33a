// Package vlanpeer is a station in a VLAN on a network device, which answers pings. It needs no VLAN device, for which the kernel may
// lack the module, but the right to open packet sockets.
package vlanpeer
