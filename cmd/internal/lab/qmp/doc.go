// Package qmp gives QEMU commands while it runs, over its machine protocol: JSON values on a UNIX socket.
package qmp
