package shadow_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// log is a dirty log: a bit for each page.
type log []byte

func (l log) has(gpa int) bool { return l[gpa/4096/8]>>(gpa/4096%8)&1 != 0 }

// newLog makes a log for all of an app VM's memory.
func newLog(t *testing.T) (l log, fd int) {
	t.Helper()
	last := uint64(0)
	for _, r := range vvutest.Regions() {
		last = max(last, r.GPA+r.Size)
	}
	size := int(last/4096/8) + 8
	fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Ftruncate(fd, int64(size)))
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(b) })
	return b, fd
}

// An app VM migrates from one vvudev to another, with its rings where they are: vvudev marks what it writes,
// and the driver VMs know nothing of it, but that a front-end goes and another comes.
func TestMigration(t *testing.T) {
	for _, style := range []vhostuser.Style{vhostuser.QEMU, vhostuser.CloudHypervisor} {
		t.Run(style.Name, func(t *testing.T) {
			from, to := newRig(t, rigConfig{}), newRig(t, rigConfig{packed: true})
			d, there := from.drive(), to.drive()
			app := from.boot(vvutest.AppConfig{Style: style})
			from.served(d)
			exchange(t, app, d, 1)

			l, fd := newLog(t)
			must(t, app.Front.SetLog(vhostuser.Log{Size: uint64(len(l))}, fd))
			must(t, app.Front.Mark(true))
			must(t, app.Settle())
			clear(l)
			exchange(t, app, d, 2)
			in := frame(4)
			at := bytes.Index(from.ram.Bytes, in)
			if at < 0 {
				t.Fatal("the frame that came is nowhere in the app VM's RAM")
			}
			if !l.has(at) || !l.has(at+len(in)-1) {
				t.Errorf("the page at %#x, to which a frame was written, is not marked", at)
			}
			if said(d.logs, "dirty log") != 0 || said(d.logs, "ring stopped") != 0 {
				t.Error("the driver VM knows of the migration")
			}

			_, err := app.Stop()
			must(t, err)
			must(t, app.Front.Mark(false))
			must(t, app.Reconnect(to.app)) // the same RAM stands for its copy
			must(t, errors.Join(app.Front.Resume(), app.Settle()))
			to.served(there)
			for k := range 20 { // around the rings
				exchange(t, app, there, 10+k)
			}
			if n := said(to.logs, "a ring is not at the index that the front-end says; going on after the last used buffer"); n != 0 {
				t.Errorf("%d rings did not go on where they stood", n)
			}
		})
	}
}

// A machine that is stopped and goes on, as for a snapshot, goes on with its rings where they were, under
// one session with the driver VM.
func TestSnapshot(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	for k := range 10 {
		exchange(t, app, d, 2*k)
		_, err := app.Stop()
		must(t, err)
		d.wires[0].Push(frame(1000 + k)) // waits for the machine
		must(t, errors.Join(app.Front.Resume(), app.Settle()))
		got, err := app.Receive()
		must(t, err)
		if !bytes.Equal(got, frame(1000+k)) {
			t.Fatalf("round %d: a frame that came while the machine was stopped differs", k)
		}
	}
	if n := said(d.logs, "front-end connected"); n != 1 {
		t.Errorf("the driver VM has had %d sessions, want 1", n)
	}
}

// A vvudev that is killed leaves its app VM's front-end with what it needs to go on with the next one:
// memory in which its rings were tracked.
func TestKilledVvudev(t *testing.T) {
	first, second := newRig(t, rigConfig{}), newRig(t, rigConfig{})
	d, there := first.drive(), second.drive()
	app := first.boot(vvutest.AppConfig{Style: vhostuser.CloudHypervisor})
	first.served(d)
	for k := range 5 {
		exchange(t, app, d, k)
	}
	if _, _, kept := app.Front.Inflight(); !kept {
		t.Fatal("the front-end keeps no record")
	}
	must(t, app.Reconnect(second.app)) // no one was asked where the rings stood
	must(t, errors.Join(app.Front.Resume(), app.Settle()))
	second.served(there)
	for k := range 20 {
		exchange(t, app, there, 10+k)
	}
}

// While vvudev polls, the driver VM need not tell it of anything: it is spared the exits that doorbells are.
func TestDoorbellsAreSpared(t *testing.T) {
	for _, packed := range []bool{false, true} {
		r := newRig(t, rigConfig{packed: packed, polls: true})
		d := r.drive()
		app := r.boot(style)
		r.served(d)
		exchange(t, app, d, 1)
		counted := func(frames uint64) (s netfwd.PortStats) {
			eventually(t, fmt.Sprint(frames, " frames are counted"), func() bool { // counters may be old if the machine is busy
				s = d.balancer.Collect().Ports[0]
				return s.RxPackets == frames
			})
			return s
		}
		before := counted(1)
		for k := range 100 {
			exchange(t, app, d, k)
		}
		if n := counted(101).Interrupts - before.Interrupts; n > 2 {
			t.Errorf("packed %v: %d doorbells for 100 frames each way, while vvudev polls", packed, n)
		}
	}
}
