package socket

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// dirtyLog is a log as a front-end has it.
type dirtyLog struct {
	file *os.File
	at   vhostuser.Log
	bits []byte
}

// logBytes is what an app's memory needs.
const logBytes = (appGPA + appMemory) / mem.DirtyPage / 8

func newLog(t *testing.T, offset uint64, size int) *dirtyLog {
	t.Helper()
	fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	l := &dirtyLog{file: os.NewFile(uintptr(fd), "log"), at: vhostuser.Log{Size: uint64(size), Offset: offset}}
	if err := l.file.Truncate(int64(offset) + int64(size)); err != nil {
		t.Fatal(err)
	}
	whole, err := unix.Mmap(fd, 0, int(offset)+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	l.bits = whole[offset:]
	t.Cleanup(func() { unix.Munmap(whole); l.file.Close() })
	return l
}

// take takes the marks away, and returns whether the page of a byte of the app's memory
// has one.
func (l *dirtyLog) take() func(at int) bool {
	got := bytes.Clone(l.bits)
	clear(l.bits)
	return func(at int) bool {
		page := (appGPA + at) / mem.DirtyPage
		return got[page/8]>>(page%8)&1 != 0
	}
}

// empty reports whether nothing is marked.
func (l *dirtyLog) empty() bool { return len(bytes.Trim(l.bits, "\x00")) == 0 }

func (a *app) setLog(t *testing.T, l *dirtyLog) {
	t.Helper()
	if err := a.SetLog(l.at, int(l.file.Fd())); err != nil {
		t.Fatal(err)
	}
}

func (a *app) mark(t *testing.T, on bool) {
	t.Helper()
	if err := a.Mark(on); err != nil {
		t.Fatal(err)
	}
	// No one waits for the answer to the last of these; the test does.
	if err := a.conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.conn.ReadMessage(); err != nil {
		t.Fatal(err)
	}
}

// say sends a message that has no answer, and waits until it is carried out.
func (a *app) say(t *testing.T, r vhostuser.Request, p vhostuser.Payload, fds ...int) {
	t.Helper()
	m := vhostuser.NewRequest(r, p, fds...)
	m.Flags |= vhostuser.FlagNeedReply
	if err := a.conn.WriteMessage(m); err != nil {
		t.Fatal(err)
	}
	var code vhostuser.U64
	if answer, err := a.conn.ReadMessage(); err != nil {
		t.Fatalf("%v: %v", r, err)
	} else if err := code.Decode(answer.Payload); err != nil || answer.Request != r || code != 0 {
		t.Fatalf("%v is answered with %v (%v)", r, answer, err)
	}
}

// written are the bytes of an app's memory that only the device writes: used rings and
// receive buffers, which are at even places here.
func (a *app) written() (parts [][2]int) {
	for _, q := range a.rings {
		_, _, used := q.Addresses()
		parts = append(parts, [2]int{int(used - appGPA), int(used-appGPA) + vring.UsedBytes(ringSize)})
	}
	for at := framesAt; at+2*frameRoom <= appMemory; at += 2 * frameRoom {
		parts = append(parts, [2]int{at, at + frameRoom})
	}
	return parts
}

// unmarked returns a byte that the device has changed since before and that is in none of
// the marks, or -1, and how many have changed.
func (a *app) unmarked(before []byte, marks ...func(int) bool) (at, changed int) {
	at = -1
	for _, part := range a.written() {
		for i := part[0]; i < part[1]; i++ {
			if a.memory[i] == before[i] {
				continue
			}
			changed++
			known := false
			for _, m := range marks {
				known = known || m(i)
			}
			if !known {
				at = i
			}
		}
	}
	return at, changed
}

// Guests that migrate, in the orders of QEMU and of cloud-hypervisor: from the answer to
// the message that asks for it everything that is written is marked, in the log that was
// sent last, until the answer to the one that ends it. Frames go on passing, and none of it
// stops a ring.
func TestDirtyLogWhileFramesPass(t *testing.T) {
	for _, style := range []vhostuser.Style{vhostuser.QEMU, vhostuser.CloudHypervisor} {
		t.Run(style.Name, func(t *testing.T) {
			r := newRig(t)
			a, b := newAppLike(t, r.paths[0], style), startApp(t, r.paths[1])
			defer a.exit()
			defer b.exit()
			if err := errors.Join(a.Connect(), a.Start()); err != nil {
				t.Fatal(err)
			}
			exchange(t, a, b, 1)
			log := newLog(t, 0x1233, logBytes) // at no border of anything
			for round := range 3 {
				a.setLog(t, log)
				if !log.empty() {
					t.Fatal("something is marked before it is to be")
				}
				a.mark(t, true)
				for k := range 10 {
					before := bytes.Clone(a.memory)
					log.take()
					exchange(t, a, b, round*10+k)
					if at, changed := a.unmarked(before, log.take()); at >= 0 || changed < 900 {
						t.Fatalf("byte %#x of %d has changed and its page is not marked", at, changed)
					}
				}
				old := log
				log = newLog(t, uint64(round), logBytes+round) // cloud-hypervisor sends one each time it looks
				before := bytes.Clone(a.memory)
				a.setLog(t, log)
				old.take()
				exchange(t, a, b, 99)
				if at, _ := a.unmarked(before, log.take()); at >= 0 || !old.empty() {
					t.Fatalf("after another log came, byte %#x is not marked in it, or something in the old one", at)
				}
				a.mark(t, false)
				log.take()
				exchange(t, a, b, 100)
				if !log.empty() {
					t.Error("something is marked when it need not be any more")
				}
			}
			if n := r.logs.FilterMessageSnippet("ring stopped").Len(); n != 0 {
				t.Errorf("rings stopped %d times", n)
			}
		})
	}
}

// QEMU whose guest's device starts while it migrates: the rings are told to mark what they
// write from the start, and the log comes after them. What was written in between is marked
// in it; so it is if an earlier log was there, which QEMU has released when the rings
// stopped, whatever it changes before the next one comes.
func TestDirtyLogComesAfterTheRings(t *testing.T) {
	const more = 1 << 30
	region := func(gpa, uva uint64) vhostuser.SingleRegion {
		return vhostuser.SingleRegion{GPA: gpa, Size: appMemory, UVA: uva}
	}
	running, stopped := func(*testing.T, *app) {}, func(*testing.T, *app) {}
	for name, tc := range map[string]struct {
		running, stopped func(*testing.T, *app) // what happens before the rings stop, and after
	}{
		"nothing": {running, stopped},
		"another table": {running, func(t *testing.T, a *app) {
			a.say(t, vhostuser.SetMemTable, vhostuser.MemoryTable{vhostuser.MemoryRegion(region(appGPA, appUVA))}, int(a.file.Fd()))
		}},
		"a region comes back": {running, func(t *testing.T, a *app) {
			a.say(t, vhostuser.RemMemReg, region(appGPA, appUVA))
			a.say(t, vhostuser.AddMemReg, region(appGPA, appUVA), int(a.file.Fd()))
		}},
		"a region beyond the log": {running, func(t *testing.T, a *app) {
			a.say(t, vhostuser.AddMemReg, region(appGPA+more, appUVA+more), int(a.file.Fd()))
			a.say(t, vhostuser.RemMemReg, region(appGPA+more, appUVA+more))
		}},
		"a reset": {running, func(t *testing.T, a *app) { a.say(t, vhostuser.ResetDevice, nil) }},
		"another migration": {
			func(t *testing.T, a *app) { a.mark(t, false) },
			func(t *testing.T, a *app) { a.mark(t, true) },
		},
		"another migration, and a reset": {
			func(t *testing.T, a *app) { a.mark(t, false) },
			func(t *testing.T, a *app) {
				a.say(t, vhostuser.ResetDevice, nil)
				a.mark(t, true)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := newApp(t, r.paths[0]), startApp(t, r.paths[1])
			defer a.exit()
			defer b.exit()
			if err := a.Connect(); err != nil {
				t.Fatal(err)
			}
			if err := a.Mark(true); err != nil { // before there is memory
				t.Fatal(err)
			}
			for round := range 3 {
				before := bytes.Clone(a.memory)
				for i := range a.rings {
					a.rings[i] = a.ring(t, i)
				}
				if err := a.Start(); err != nil {
					t.Fatal(err)
				}
				exchange(t, a, b, round)
				log := newLog(t, 0, logBytes)
				a.setLog(t, log)
				marks := log.take()
				if at, changed := a.unmarked(before, marks); at >= 0 || changed < 900 {
					t.Fatalf("round %d: byte %#x of %d was written before the log came and is not marked in it", round, at, changed)
				}
				for at := range appMemory {
					if at >= framesAt+2*frameRoom && marks(at) {
						t.Fatalf("round %d: byte %#x is marked, which no one has written", round, at)
					}
				}
				tc.running(t, a)
				if _, err := a.Stop(); err != nil {
					t.Fatal(err)
				}
				log.take() // QEMU looks once more, and releases the log
				tc.stopped(t, a)
			}
		})
	}
}

// A log that is not marked in, because a migration came to nothing or the log itself was no
// good, does not stand in the way of memory that is plugged in.
func TestMemoryBeyondAnIdleDirtyLog(t *testing.T) {
	region := vhostuser.SingleRegion{GPA: appGPA + 1<<30, Size: appMemory, UVA: appUVA + 1<<30}
	table := vhostuser.MemoryTable{{GPA: appGPA, Size: appMemory, UVA: appUVA}, vhostuser.MemoryRegion(region)}
	for name, idle := range map[string]func(*testing.T, *app){
		"cancelled": func(t *testing.T, a *app) {
			a.setLog(t, newLog(t, 0, logBytes))
			a.mark(t, true)
			a.mark(t, false)
		},
		"not begun": func(t *testing.T, a *app) { a.setLog(t, newLog(t, 0, logBytes)) },
		"refused": func(t *testing.T, a *app) {
			small := newLog(t, 0, logBytes-1)
			if err := a.SetLog(small.at, int(small.file.Fd())); err == nil {
				t.Fatal("the log is taken")
			}
		},
	} {
		for how, plug := range map[string]func(*testing.T, *app){
			"region": func(t *testing.T, a *app) { a.say(t, vhostuser.AddMemReg, region, int(a.file.Fd())) },
			"table":  func(t *testing.T, a *app) { a.say(t, vhostuser.SetMemTable, table, int(a.file.Fd()), int(a.file.Fd())) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				r := newRig(t)
				a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
				defer a.exit()
				defer b.exit()
				idle(t, a)
				plug(t, a)
				exchange(t, a, b, 1)
				log := newLog(t, 0, logBytes+1<<30/mem.DirtyPage/8) // the next migration
				a.setLog(t, log)
				a.mark(t, true)
				before := bytes.Clone(a.memory)
				log.take()
				exchange(t, a, b, 2)
				if at, changed := a.unmarked(before, log.take()); at >= 0 || changed < 900 {
					t.Errorf("byte %#x of %d has changed and its page is not marked", at, changed)
				}
			})
		}
	}
}

// A log that cannot be used is refused, and no one goes on as if it were not: a front-end
// that listens learns of it and keeps its network; one that does not, as QEMU, and has
// writes marked all the same loses its session, for its guest would arrive with stale
// memory.
func TestDirtyLogThatIsNoGood(t *testing.T) {
	onDisk, err := os.CreateTemp("/var/tmp", "log")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(onDisk.Name())
	onDisk.Truncate(logBytes)
	short := newLog(t, 0, logBytes)
	short.file.Truncate(logBytes - 1)
	beyond := newLog(t, 0, logBytes)
	beyond.at.Offset = 1
	far := newLog(t, 0, logBytes)
	far.at.Offset = 1 << 62
	for name, tc := range map[string]struct {
		log  *dirtyLog
		want string
	}{
		"too small":       {newLog(t, 0, logBytes-1), "too small"},
		"file too short":  {short, "ends before"},
		"beyond its file": {beyond, "ends before"},
		"far beyond":      {far, "ends before"},
		"not in memory":   {&dirtyLog{file: onDisk, at: vhostuser.Log{Size: logBytes}}, "not in memory"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
			defer a.exit()
			defer b.exit()
			if err := a.SetLog(tc.log.at, int(tc.log.file.Fd())); err == nil || !strings.Contains(err.Error(), "refuses") {
				t.Fatalf("the log is taken: %v", err)
			}
			r.logged(t, tc.want)
			exchange(t, a, b, 1)
			good := newLog(t, 0, logBytes)
			a.setLog(t, good)
			a.mark(t, true)
			exchange(t, a, b, 2)
			if good.empty() {
				t.Error("nothing is marked in a good log after a bad one")
			}
			a.mark(t, false)
			a.SetLog(tc.log.at, int(tc.log.file.Fd()))
			if err := a.Mark(true); err == nil {
				t.Error("the session goes on without marks")
			}
			r.logged(t, "cannot be marked")
		})
	}
}

// Memory that reaches beyond the log is not served without one.
func TestMemoryBeyondTheDirtyLog(t *testing.T) {
	r := newRig(t)
	a := startApp(t, r.paths[0])
	defer a.exit()
	a.setLog(t, newLog(t, 0, logBytes))
	a.mark(t, true)
	m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{GPA: appGPA + 1<<30, Size: appMemory, UVA: appUVA}}, int(a.file.Fd()))
	if err := a.conn.WriteMessage(m); err != nil {
		t.Fatal(err)
	}
	r.logged(t, "too small")
	r.logged(t, "cannot be marked")
}

// A front-end that cuts its log ends up with dead rings, and no one else is hurt.
func TestDirtyLogVanishes(t *testing.T) {
	r := newRig(t)
	a, b := startApp(t, r.paths[0]), startApp(t, r.paths[1])
	defer b.exit()
	log := newLog(t, 0, logBytes)
	a.setLog(t, log)
	a.mark(t, true)
	exchange(t, a, b, 1)
	if err := log.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	a.offer(0)
	b.send(1, pattern(500, 1))
	r.logged(t, "fault")
	// The loop takes over what the front-end says of rings that it has failed, and goes on.
	call := vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: 0}, a.calls[0])
	if err := errors.Join(a.conn.WriteMessage(call), a.conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil))); err != nil {
		t.Fatal(err)
	}
	a.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if m, err := a.conn.ReadMessage(); err != nil || m.Request != vhostuser.GetFeatures {
		t.Errorf("%v, %v in answer to GET_FEATURES", m, err)
	}
	a.exit()
	a = startApp(t, r.paths[0])
	defer a.exit()
	for n := 0; b.rings[1].Completed() == 0 && n < 5000; n++ {
		unix.Poll(nil, 1)
	}
	for u := (vring.Used{}); b.rings[1].Take(&u); {
	}
	exchange(t, a, b, 2) // b's rings were no one's fault
}
