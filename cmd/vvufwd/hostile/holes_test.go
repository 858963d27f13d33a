package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// allocated is how much of a memory file exists, in bytes.
func allocated(t *testing.T, fd int) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Blocks) * 512
}

// sharedResident is how much memory of files vvufwd has in its page tables, in KiB.
func (f *forwarder) sharedResident(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "RssShmem: %d", &kib)
	}
	return kib
}

// A guest whose buffers are everywhere in memory that does not exist makes it exist by our
// accesses, in either direction, and a front-end that goes and comes back can do so
// again. What one can cause is what it shares, at most --max-memory; it is gone from our
// account when the front-end is gone, and from the machine when its file is. Others do not
// notice.
func TestHolesAreFilled(t *testing.T) {
	const region, at = 64 << 20, 1 << 40
	f := startForwarder(t, 4, "--max-memory=1280M")
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before, idle := f.census(t), f.sharedResident(t)
	for round := range cycles(t, 2, 20) {
		file := sparse(t, 1, region)[0]
		a := join(t, f.sockets[0])
		r := vhostuser.SingleRegion{GPA: at, Size: region, UVA: 1 << 45}
		if refused, err := a.told(vhostuser.AddMemReg, r, file); refused || err != nil {
			t.Fatalf("refused is %v (%v)", refused, err)
		}
		// Each frame lies in a page of its own, and there are as many as there are pages.
		tx := a.rings[transmitRing]
		const pages = region / 4096
		for page := 0; page < pages; {
			for range min(ringEntries, pages-page) {
				tx.set(page%ringEntries, desc{Addr: at + uint64(page)*4096, Len: vnetHeader + 60})
				tx.offer(uint16(page % ringEntries))
				page++
			}
			a.kick(transmitRing)
			eventually(t, "the frames in holes are taken", func() bool {
				if err := b.drain(); err != nil {
					t.Fatal(err)
				}
				return tx.usedIdx() == tx.avail
			})
			tx.used = tx.usedIdx()
		}
		filled := allocated(t, file)
		if filled == 0 || filled > region {
			t.Errorf("%d bytes of a region of %d are filled", filled, region)
		}
		if now := f.sharedResident(t); now > idle+(region+2*touched)>>10 {
			t.Errorf("%d KiB of files are resident, %d before there was a region of %d KiB", now, idle, region>>10)
		}
		// A region as large as what is left, and one beyond that.
		rest := uint64(1280<<20) - region
		for _, v := range regions {
			rest -= v.Size
		}
		more := vhostuser.SingleRegion{GPA: at << 1, Size: rest + 4096, UVA: 1 << 46}
		if refused, err := a.told(vhostuser.AddMemReg, more, sparse(t, 1, int64(more.Size))[0]); !refused || err != nil {
			t.Errorf("memory beyond --max-memory: refused is %v (%v)", refused, err)
		}
		exchange(t, a, b)
		a.leave()
		f.settled(t, before)
		eventually(t, "what was filled leaves our account", func() bool { return f.sharedResident(t) <= idle+2*touched>>10 })
		if round == 0 {
			t.Logf("%d of %d bytes were filled by our accesses", filled, region)
		}
	}
}
