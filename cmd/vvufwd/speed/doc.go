// Package speed holds a benchmark of TCP between a guest and the host through vvufwd's TAP port and through QEMU's own, and tests of what
// it measures with: "make tapbench".
package speed
