// Package tools finds what the demo runs: QEMU, a kernel with its modules, a static busybox, and the project's own programs.
//
// Each is taken from the first of these places that has it: what a flag names; this machine; what an earlier run unpacked;
// Debian's packages, unpacked into the build directory.
package tools
