// Package e2e holds the end-to-end test: both virtual machines, real traffic, every figure checked. What the test needs is
// unpacked or built below the source tree's build directory, where the demo keeps it too.
package e2e
