//go:build race

package netfwd

// With the race detector a round takes many times as long, so it takes fewer for
// as much time. With as many, a loop polled for milliseconds before each sleep
// and for most of the time that the tests wait, whatever its IdleAfter.
const housekeeping = 16
