// Vvudev gives a stock QEMU the virtio-vhost-user PCI device.
//
// Synopsis:
//
//	vvudev --vfio-user PATH --vhost-user PATH --ram FILE [flags]
//	vvudev --vfio-user PATH --vhost-user PATH --shadow SIZE [flags]
//	vvudev --device vfio-user=PATH,vhost-user=PATH --device … --shadow SIZE [flags]
//
// Description:
//
// A virtio-vhost-user device lets one virtual machine, the driver VM, be the
// vhost-user back-end of another, the app VM. Vvudev is that device in a process
// of its own. The driver VM's QEMU (10.1 or later) connects to it as vfio-user-pci,
// the app VM's monitor as a vhost-user front-end:
//
//	vvudev --vfio-user /run/vvu.sock --vhost-user /run/app.sock --ram /dev/shm/app.ram --create-ram 256M
//
//	qemu-system-x86_64 …                                          (driver VM)
//	  -object memory-backend-memfd,id=m0,size=512M,share=on
//	  -machine q35,memory-backend=m0,kernel-irqchip=split
//	  -device intel-iommu,intremap=on,caching-mode=on
//	  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/run/vvu.sock"}}'
//
//	qemu-system-x86_64 -m 256M …                                  (app VM)
//	  -object memory-backend-file,id=m0,size=256M,mem-path=/dev/shm/app.ram,share=on
//	  -machine q35,memory-backend=m0
//	  -chardev socket,id=c0,path=/run/app.sock,reconnect-ms=1000
//	  -netdev vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0
//
// The RAM file is the app VM's memory and appears in BAR 4 of the device. It has
// to have its final size before the driver VM starts, and to keep it. Vvudev has
// to run before both VMs start, and outlives them: when one goes away it waits
// for the next. It ends on SIGTERM or SIGINT; a driver VM that still runs then
// loses its device.
//
// With --shadow the driver VM does not see the app VM's memory. Vvudev is the back-end of the app
// VM itself then, and shows the driver VM a region of its own, with rings and the frames that are
// on their way (package shadow). It forwards between the two, as vvufwd does: a loop polls, and
// sleeps when no frame comes. There is no RAM file; the app VM may have any memory
// that can be shared (memory-backend-memfd,share=on), of any size, and may be
// there before the driver VM or after it.
//
// Flags:
//
//	--vfio-user PATH    socket to listen on for the driver VM's QEMU
//	--vhost-user PATH   socket to listen on for the app VM's monitor
//	--ram FILE          the app VM's RAM file, its mem-path
//	--create-ram SIZE   create or resize the RAM file, e.g. 256M or 4G
//	--max-memory SIZE   what a VM may share (default four times the machine's)
//	--shadow SIZE       show the driver VM a region of this size in place of the app VM's memory
//	--device vfio-user=PATH,vhost-user=PATH[,uuid=UUID][,mac=ADDRESS]
//	                    with --shadow: a device; repeat for several app VMs
//	--cpus LIST         with --shadow: CPUs with a loop each (default one loop, not pinned)
//	--idle-after TIME   with --shadow: when a loop without frames sleeps (default 500µs)
//	--packed            with --shadow: packed rings towards the driver VM, if it has them
//	--stats INTERVAL    with --shadow: print rates each interval; totals at the end in any case
//	--stats-json        with --shadow: statistics as lines of JSON
//	--queues N          vrings that can be connected, 1 to 256 (default 256)
//	--uuid UUID         identity of the device (default: a random one)
//	--log-level LEVEL   debug, info, warn or error (default info)
//	--log-format FORM   console or json (default console)
//	--no-confine        keep all privileges after start-up, for debugging
//	--version           print the version and exit
//
// Sockets are created with mode 0600. A socket file that no one listens on any
// more is replaced. Logs go to standard error; what no one reads there in time is
// dropped and counted, for nothing waits for it. Statistics go to standard output (vvufwd help
// statistics says what they mean).
//
// Once everything is open, vvudev gives up what it does not need any more: all
// capabilities, all files but the removal of its sockets, and most system calls
// (package confine). For that it executes itself again, in the same process, which
// takes /proc. A system call that is refused shows in the kernel's log.
//
// Exit status: 0 after a signal, 1 for a failure while running, 2 for wrong usage,
// 3 if the RAM file or a socket cannot be used.
package main

import (
	"errors"
	"flag"
	"os"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/logging"
)

func main() {
	stdout, stderr := logging.Streams()
	err := run(os.Args[1:], stdout, stderr)
	if errors.Is(err, flag.ErrHelp) {
		err = stdout.Told(logging.LastWords)
	}
	code := cli.ExitCode(err)
	if code != cli.Done {
		cli.PrintError(stderr, "vvudev", err)
	}
	logging.Flush(logging.LastWords, stdout, stderr)
	os.Exit(code)
}
