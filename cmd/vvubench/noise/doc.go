// Package noise finds out how much else happened on the CPUs of a measurement.
//
// A loop that polls always wants its CPU. What the kernel's scheduler made it wait
// is what other processes took from it, to the nanosecond; time that the
// hypervisor took is steal, in the ticks of /proc/stat, if the hypervisor says so.
//
// No one tells when the hypervisor moves the CPUs to other cores. The time that a
// cache line takes from one to the other does.
package noise
