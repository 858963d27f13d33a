package socket

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// startTracked starts a front-end that keeps what is in flight.
func startTracked(t *testing.T, path string) *app {
	t.Helper()
	a := newAppLike(t, path, vhostuser.CloudHypervisor)
	t.Cleanup(a.DropInflight)
	if err := errors.Join(a.Connect(), a.Start()); err != nil {
		t.Fatal(err)
	}
	return a
}

// The memory that we make cannot be taken away from us, begins empty, and says what the
// protocol has it say of a ring.
func TestInflightMemory(t *testing.T) {
	r := newRig(t)
	b := startApp(t, r.paths[1])
	defer b.exit()
	for round := range 3 {
		a := startTracked(t, r.paths[0])
		v, fd, kept := a.Inflight()
		if !kept || v.Queues != 2 || v.QueueSize != ringSize || v.Size != uint64(2*vring.TrackBytes(ringSize, false)) {
			t.Fatalf("inflight region: %+v %v", v, kept)
		}
		if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SHRINK == 0 {
			t.Errorf("seals %#x, %v", seals, err)
		}
		whole, err := unix.Mmap(fd, int64(v.Offset), int(v.Size), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		le := func(ring, at int) int {
			b := whole[ring*vring.TrackBytes(ringSize, false)+at:]
			return int(b[0]) | int(b[1])<<8
		}
		exchange(t, a, b, round)
		exchange(t, a, b, round+1)
		for ring := range 2 {
			if version, num, used := le(ring, 8), le(ring, 10), le(ring, 14); version != 1 || num != ringSize || used != 2 {
				t.Errorf("round %d, ring %d: version %d, %d entries, used index %d", round, ring, version, num, used)
			}
			for i := range ringSize {
				if le(ring, 16*(1+i))&0xff != 0 {
					t.Errorf("round %d, ring %d: entry %d is in flight", round, ring, i)
				}
			}
		}
		unix.Munmap(whole)
		a.exit()
	}
}

// A frame that waits in our hands for room is in flight, in the words of the protocol.
func TestInflightIsRecorded(t *testing.T) {
	r := newRig(t)
	a, b := startTracked(t, r.paths[0]), startApp(t, r.paths[1])
	defer a.exit()
	defer b.exit()
	exchange(t, a, b, 1) // the receive ring of b has had a buffer
	a.send(1, pattern(100, 2))
	v, fd, _ := a.Inflight()
	whole, err := unix.Mmap(fd, int64(v.Offset), int(v.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(whole)
	transmit := whole[vring.TrackBytes(ringSize, false):]
	inflight := func() (n int) {
		for i := range ringSize {
			n += int(transmit[16*(1+i)])
		}
		return n
	}
	for n := 0; inflight() != 1 && n < 5000; n++ {
		unix.Poll(nil, 1)
	}
	if n := inflight(); n != 1 {
		t.Fatalf("%d buffers are in flight, want 1", n)
	}
	b.offer(0)
	if got := b.receive(t, 0); !bytes.Equal(got, pattern(100, 2)) {
		t.Error("the frame differs")
	}
	for n := 0; inflight() != 0 && n < 5000; n++ {
		unix.Poll(nil, 1)
	}
	if n := inflight(); n != 0 {
		t.Errorf("%d buffers are in flight after all", n)
	}
}

// Memory of a front-end's own, which it cuts, costs it its rings; what is no such memory is
// refused, and its rings run without.
func TestInflightMemoryThatIsNoGood(t *testing.T) {
	need := uint64(2 * vring.TrackBytes(ringSize, false))
	file := func(size uint64) *os.File {
		fd, err := unix.MemfdCreate("own", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "own")
		f.Truncate(int64(size))
		t.Cleanup(func() { f.Close() })
		return f
	}
	good := vhostuser.Inflight{Size: need, Queues: 2, QueueSize: ringSize}
	for name, tc := range map[string]struct {
		v    vhostuser.Inflight
		size uint64
		want string
	}{
		"too small":       {vhostuser.Inflight{Size: need - 1, Queues: 2, QueueSize: ringSize}, need, "are needed"},
		"short file":      {good, need - 1, "ends before"},
		"many rings":      {vhostuser.Inflight{Size: 1 << 40, Queues: 65535, QueueSize: ringSize}, need, "are supported"},
		"large rings":     {vhostuser.Inflight{Size: 1 << 40, Queues: 2, QueueSize: 65535}, need, "are supported"},
		"at an odd place": {vhostuser.Inflight{Size: need, Offset: 3, Queues: 2, QueueSize: ringSize}, need + 8, "8-aligned"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := newApp(t, r.paths[0]), startApp(t, r.paths[1])
			defer a.exit()
			defer b.exit()
			if err := a.Connect(); err != nil {
				t.Fatal(err)
			}
			if err := a.conn.WriteMessage(vhostuser.NewRequest(vhostuser.SetInflightFD, tc.v, int(file(tc.size).Fd()))); err != nil {
				t.Fatal(err)
			}
			if err := a.Start(); err != nil {
				t.Fatal(err)
			}
			r.logged(t, tc.want)
			exchange(t, a, b, 1)
		})
	}
	t.Run("cut", func(t *testing.T) {
		r := newRig(t)
		a, b := newApp(t, r.paths[0]), startApp(t, r.paths[1])
		defer b.exit()
		if err := a.Connect(); err != nil {
			t.Fatal(err)
		}
		own := file(need)
		if err := a.conn.WriteMessage(vhostuser.NewRequest(vhostuser.SetInflightFD, good, int(own.Fd()))); err != nil {
			t.Fatal(err)
		}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		exchange(t, a, b, 1)
		own.Truncate(0)
		a.offer(0)
		b.send(1, pattern(500, 1))
		r.logged(t, "fault")
		a.exit()
		a = startTracked(t, r.paths[0])
		defer a.exit()
		for n := 0; b.rings[1].Completed() == 0 && n < 5000; n++ {
			unix.Poll(nil, 1)
		}
		for u := (vring.Used{}); b.rings[1].Take(&u); {
		}
		exchange(t, a, b, 2)
	})
}
