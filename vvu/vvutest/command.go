package vvutest

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/virtio/vring"
)

// Command sends a command through the control queue, waits until it is carried out, and
// returns how it is acknowledged: 0 is success, 1 failure (virtio 1.3, 5.1.6.5).
func (a *App) Command(class, command byte, data ...byte) (ack byte, err error) {
	if !a.cfg.Control {
		return 0, errors.New("the device has no control queue")
	}
	q := a.queues[2*a.cfg.Pairs]
	b, addr, err := q.buffer(q.NextHead())
	if err != nil {
		return 0, err
	}
	n := copy(b, append([]byte{class, command}, data...))
	const untouched = 0xff
	b[n] = untouched
	out := []vring.Part{{Addr: addr, Len: 2}, {Addr: addr + 2, Len: uint32(len(data))}}
	if len(data) == 0 {
		out = out[:1]
	}
	if _, err := q.Add(out, []vring.Part{{Addr: addr + uint64(n), Len: 1}}); err != nil {
		return 0, err
	}
	q.publish()
	if err := q.sleep(time.Now().Add(Patience)); err != nil {
		return 0, fmt.Errorf("command %d of class %d: %w", command, class, err)
	}
	var u vring.Used
	if !q.take(&u) || b[n] == untouched {
		return 0, fmt.Errorf("command %d of class %d is not acknowledged: %w", command, class, q.Err())
	}
	return b[n], nil
}
