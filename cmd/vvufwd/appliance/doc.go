// Package appliance is what vvufwd does when it is all the user space a virtual
// machine has: the kernel starts it as /init.
//
// There are two processes, both made from the one binary:
//
//	PID 1   Supervise: starts the other one, reaps orphans, passes on SIGTERM,
//	        SIGINT and an Enter on the console, and to the console what the other one
//	        says, prints the exit code, powers off.
//	child   Args, Setup, StopSignal, and then the program as on any machine.
//
// The kernel panics when PID 1 dies, and a Go program can die in ways that no
// deferred function sees: a panic in another goroutine, a SIGBUS from a device
// that went away, os.Exit, the out-of-memory killer. So PID 1 does next to
// nothing, and everything that can fail runs in the child, whose end, however it
// came, is a status that PID 1 reads. The price is the private memory of an idle
// Go process, less than 1 MiB; the text is shared.
//
// The child looks at what peers hand it, and gives up its privileges before it does
// (package confine). PID 1 keeps its own, because it needs them at the very end, to
// kill what is left, remount and power off; all it reads is whether someone pressed
// Enter and what the child has to say, of which it looks for the ends of lines, and the
// confined child can neither signal nor trace it.
//
// A main function begins with
//
//	if appliance.IsInit() {
//		appliance.Supervise() // does not return
//	}
//
// and asks Supervised whether to call Args and Setup.
package appliance
