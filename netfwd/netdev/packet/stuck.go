package packet

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The kernel (6.18 for one, 7.3 no more) stops using a ring for good when a frame comes that no virtio-net header can describe:
// tpacket_rcv keeps its slot marked as being filled. Such are large segments of SCTP that another guest of the same machine has
// sent. The socket in reserve takes over then: recvmmsg is slower and loses that frame alone.

// overseer is what control knows of a wire's ring.
type overseer struct {
	given   uint64 // when it was last looked at
	dropped uint64
}

// isStuck reports whether the kernel has dropped frames since the last look although the ring had room, all of the time.
// dropped is how many there were at all.
func (w *wire) isStuck(dropped uint64) bool {
	given := w.ring.given.Load()
	stuck := w.seen.given == given && dropped > w.seen.dropped && w.ring.empty(given)
	w.seen = overseer{given, dropped}
	return stuck
}

// resort has the socket in reserve receive, at an interface of that name, and no one the other one.
func (w *wire) resort(name string) error {
	nothing := unix.SockFilter{Code: verdict} // which is not counted as dropped
	if err := unix.SetsockoptSockFprog(w.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing}); err != nil {
		return fmt.Errorf("leave a ring: %w", err)
	}
	if err := bind(w.reserve, name); err != nil {
		return err
	}
	w.resorted.Store(true)
	return nil
}
