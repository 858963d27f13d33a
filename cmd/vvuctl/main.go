// Vvuctl asks a running vvufwd about itself.
//
// Synopsis:
//
//	vvuctl [--control PATH|vsock:CID:PORT] [--json] ports|stats|links|switch|version|metrics
//	vvuctl [--control PATH|vsock:CID:PORT] capture [start|stop [PORT]]
//	vvuctl [--control PATH|vsock:CID:PORT] log-level [debug|info|warn|error]
//
// Description:
//
// The vvufwd has to be started with --control. On a host that names a socket. In a driver VM it is a port of vsock, or a virtio-serial
// port, whose other end is the socket of a QEMU: there the path of that is the one to give here.
//
// Answers are tables, or with --json what vvufwd has sent. To start and stop captures and to change the log level vvufwd must have been
// started with ",write" after its --control.
//
// Exit status: 0 done, 1 if there is no answer or a refusal, 2 for wrong usage.
package main

import (
	"os"

	"vvufwd/cmd/internal/cli"
)

func main() { os.Exit(cli.Main("vvuctl", run)) }
