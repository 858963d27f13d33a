// Package testpmd finds, starts, stops and reads DPDK's testpmd, as the back-end
// of vhost-user sockets and as the front-end that connects to them.
//
// One testpmd forwards, or generates, on one CPU and does everything else on
// another. All its memory is anonymous (--in-memory), so that it needs no
// privilege and leaves nothing behind; it is made of huge pages where enough of
// them are free.
//
// What it prints is read line by line: rates while it runs, totals when it has
// been told to stop.
package testpmd
