package netdev

import (
	"errors"
	"fmt"

	"vvufwd/netfwd"
	virtionet "vvufwd/virtio/net"
)

// Queue is a queue pair of an interface: a netfwd.Port that can wake a sleeping loop. Its methods
// belong to the goroutine that forwards, but for Close.
type Queue interface {
	netfwd.Port
	netfwd.Sleeper
	// Close is called when no one forwards any more.
	Close() error
}

// Wired is an Interface whose frames pass over wires.
type Wired interface {
	Interface
	// Wires are its queue pairs.
	Wires() []Wire
	// Offloads are what the kernel may leave undone in what is read, and what may be left to
	// it in what is written.
	Offloads() (leaves, takes virtionet.Offloads)
}

// OverWires is Interface.Queues for those.
func OverWires(name string, c *Condition, i Wired) (queues []Queue, err error) {
	leaves, takes := i.Offloads()
	for n, w := range i.Wires() {
		p, err := newPort(QueueName(name, n), w, c, leaves, takes)
		if err != nil {
			return nil, errors.Join(err, closeQueues(queues))
		}
		queues = append(queues, p)
	}
	return queues, nil
}

// QueueName is what the n-th queue pair of a port is called.
func QueueName(port string, n int) string {
	if n == 0 {
		return port
	}
	return fmt.Sprintf("%s/q%d", port, n)
}

func closeQueues(queues []Queue) error {
	var errs []error
	for _, q := range queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}
