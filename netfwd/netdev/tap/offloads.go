package tap

import (
	"errors"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// leave is what the kernel is asked to leave undone in the frames of a device, and what may be left to it.
type leave struct {
	flags    int // of TUNSETOFFLOAD
	offloads virtionet.Offloads
}

// leaves are those that are tried, the most first: UDP segments are known since Linux 6.2, and a device that was handed over may be
// some other program's idea of one.
//
// They are not less for a guest that takes no large segments. Those are cut on their way then, from one buffer to the other: a
// segment of 64 KiB that the kernel cuts is 45 frames, each of which costs a system call.
var leaves = []leave{
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6,
		segments | virtionet.OffloadECN | virtionet.OffloadUSO4 | virtionet.OffloadUSO6},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN, segments | virtionet.OffloadECN},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6, segments},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4, virtionet.OffloadCsum | virtionet.OffloadTSO4},
	{unix.TUN_F_CSUM, virtionet.OffloadCsum},
	{0, 0},
}

const segments = virtionet.OffloadCsum | virtionet.OffloadTSO4 | virtionet.OffloadTSO6

// negotiate finds the first of a list that set, which tells the kernel, succeeds with. A kernel that cannot be told at all leaves
// nothing undone.
func negotiate(set func(flags int) error, list []leave) (leave, error) {
	var first error
	for _, l := range list {
		err := set(l.flags)
		switch {
		case err == nil:
			return l, nil
		case !errors.Is(err, unix.EINVAL): // not that it does not know one of them
			return leave{}, err
		case first == nil:
			first = err
		}
	}
	return leave{}, first
}
