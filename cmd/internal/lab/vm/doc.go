// Package vm starts the programs of the demo as child processes, reads what they print line by line, waits for lines with
// hard time limits, and builds the QEMU command lines of the two virtual machines.
//
// A child never outlives the demo: it is killed by Close, and by the kernel should the demo itself be killed.
package vm
