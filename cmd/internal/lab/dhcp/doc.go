// Package dhcp is a DHCP server (RFC 2131) for one client on one network device. The demo runs it on a TAP device that it
// made itself, where no one else hands out addresses.
package dhcp
