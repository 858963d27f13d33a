// Package lab holds, in its sub-packages, what the demo, the benchmark and the tests with
// virtual machines share: Debian packages (apt), the tools and kernels unpacked from them
// (tools), RAM disks (initramfs), command lines of monitors (machine), running machines
// (vm, qmp) and what is done in them (guest, counters, dhcp).
package lab
