// Package capture reads a packet capture of the NIC side and sums it up: who sent how many frames of which kind.
package capture
