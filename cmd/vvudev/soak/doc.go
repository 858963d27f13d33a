// Package soak attacks a running vvudev for a long time, while another one goes on.
//
// It is tests only, which start vvudev as it is shipped, twice. A stand-in of a driver VM
// drives both devices with the driver of package vvu, one loop for both. One device has a
// good front-end, every frame of which is compared; the other's socket gets hostile
// front-ends, and good ones in between. In the end nothing may have grown: files, mappings,
// threads and memory of both vvudevs, goroutines and files of the driver.
//
// The tests take the short form, seconds. With SOAKTIME set to a duration (make soak) it is
// that long.
package soak
