// Package apt fetches Debian packages by driving the machine's own apt, without touching the machine's package state and
// without root.
//
// The archive's address, the keys that sign it and the proxies are the machine's: the sources under /etc/apt are read, the
// entry of the Debian archive is picked, and a private apt gets the same entry with other suites. So signatures stay
// verified, a local mirror stays used, and no address of any mirror stands in this program.
package apt
