// Package suite tests a driver of Intel's NICs against the device side in memory: what all of
// them have to do, and what a NIC that lies must not be able to.
package suite
