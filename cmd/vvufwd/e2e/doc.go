// Package e2e tests vvufwd over vhost-user sockets against the front-ends that people use: QEMU with an unmodified guest, and
// DPDK. What the tests need is unpacked or built below the source tree's build directory, where the demo keeps it too.
package e2e
