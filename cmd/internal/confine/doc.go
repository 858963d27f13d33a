// Package confine takes from a running program what it does not need any more.
//
// A program starts with all that its user may do: it opens devices, sockets and
// files. From then on it moves bytes that hostile peers hand it, and needs little
// for that. It gives the rest up, for all threads and for good, so that someone
// who finds a mistake in the program and takes it over gets no further than it can
// go itself. That happens in two steps:
//
//	Start      executes the program again in the same process, and hands open files over:
//	  no_new_privs   nothing that is executed gains privileges
//	  Landlock       no file, but for those that a Policy names, and for what it takes to
//	                 start: the program and its libraries, the time zone (Linux 5.13 or later)
//	  capabilities   none left, in any set
//	Finish     when all ports are open, before a peer is heard:
//	  seccomp        only the system calls that the Go run-time and the data path make;
//	                 above all, no file is opened any more, but for Policy.OpenVFIO
//
// All of Start's concerns a thread, and a Go program has several before it can do
// anything. They could be made to do it all at once (syscall.AllThreadsSyscall), but not
// with cgo, which any program has that is built with "go build" where there is a C
// compiler; and without, one in 300 starts was seen to hang in it. A program that has
// just been executed has the one thread whose lack of privileges the others inherit. The filter of
// Finish is put before all threads by the kernel itself.
//
// A system call that is not on the list fails with EPERM and is written to the
// kernel's log (audit, type 1326, with the number of the call). The program is not
// killed for it: a call that this list has forgotten shows as an error with a name,
// and whoever took the program over learns nothing from a second attempt that a
// first one did not tell.
//
// # What stays
//
// Memory can be mapped, never executable. Descriptors that are open work on,
// among them VFIO's, with the requests that running, closing and taking over a device
// takes, and peers may send more. Threads can be made, processes cannot. A program that
// connects to sockets can still do that, see Policy.Connect.
//
// User and group stay as they are. A program that runs as root without capabilities
// still owns root's files; it is Landlock and the lack of open(2) that keep it from
// them.
package confine
