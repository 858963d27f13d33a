//go:build !race

package netfwd

// Rounds between two looks at whether the loop shall stop, refresh counters or
// go to sleep. A round with nothing to do takes some 25 ns for each port.
const housekeeping = 256
