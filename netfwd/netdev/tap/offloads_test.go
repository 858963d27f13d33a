package tap

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// TestNegotiate has kernels that know of less and less: what is agreed upon is the most that each knows of.
func TestNegotiate(t *testing.T) {
	const uso, ecn, tso6, tso4 = unix.TUN_F_USO4 | unix.TUN_F_USO6, unix.TUN_F_TSO_ECN, unix.TUN_F_TSO6, unix.TUN_F_TSO4
	for unknown, want := range map[int]virtionet.Offloads{
		0: segments | virtionet.OffloadECN | virtionet.OffloadUSO4 | virtionet.OffloadUSO6,

		uso:                     segments | virtionet.OffloadECN,
		uso | ecn:               segments,
		uso | ecn | tso6:        virtionet.OffloadCsum | virtionet.OffloadTSO4,
		uso | ecn | tso6 | tso4: virtionet.OffloadCsum,
		uso | ecn | tso6 | tso4 | unix.TUN_F_CSUM: 0,
	} {
		told := -1
		got, err := negotiate(func(flags int) error {
			if flags&unknown != 0 {
				return unix.EINVAL
			}
			told = flags
			return nil
		}, leaves)
		if err != nil || got.offloads != want || got.flags != told || told&unknown != 0 {
			t.Errorf("without %#x: %+v, told %#x, %v; want %#x", unknown, got, told, err, want)
		}
		leaves, takes := (&device{leave: got}).Offloads()
		if takes != want || leaves != want|virtionet.OffloadDataValid {
			t.Errorf("without %#x the port leaves %#x and takes %#x", unknown, leaves, takes)
		}
	}
}

// TestNegotiateFails tells of other errors than that a kernel does not know an offload, and insists on what queue pairs go by.
func TestNegotiateFails(t *testing.T) {
	calls := 0
	_, err := negotiate(func(int) error { calls++; return unix.EBADFD }, leaves)
	if !errors.Is(err, unix.EBADFD) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if _, err := negotiate(func(int) error { return unix.EINVAL }, leaves[:1]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an interface that is back with less: %v", err)
	}
}
