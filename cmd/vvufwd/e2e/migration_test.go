package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/qmp"
)

// migratedBytes is what is downloaded while a guest migrates: more than passes in that time.
const migratedBytes = 40 << 20

// markedBytes is how much of that passes at least while vvufwd has to mark what it writes.
const markedBytes = 2 << 20

// TestGuestMigrates lets a guest move between QEMUs, in one case there and back, each with a port of its own at one vvufwd, while it
// downloads a file from another guest behind a third port. When it has left and is stopped its memory here and there must be the same
// to the last byte: what vvufwd wrote and QEMU did not learn of would show there. Then the download goes on to its end, and is compared.
func TestGuestMigrates(t *testing.T) {
	l := newLab(t)
	image := l.image()
	for _, way := range []struct {
		name, options string
		moves         int
	}{
		{"split", "mq=off", 1},
		{"packed", "packed=on", 2},
		{"no mergeable buffers, no offloads", "mrg_rxbuf=off,guest_tso4=off,guest_tso6=off,guest_uso4=off,guest_uso6=off,guest_csum=off", 1},
	} {
		l.step(way.name, func(l *lab) {
			l.out = filepath.Join(l.out, fmt.Sprintf("%.5s", way.name))
			l.must(os.MkdirAll(l.out, 0o755))
			l.migrations(image, way.options, way.moves, func(sockets ...string) (*forwarder, func()) {
				f := l.switched(sockets...)
				return f, func() { l.stop(f) }
			})
		})
	}
}

// migrations does so with three sockets that join makes the ports of a switch.
func (l *lab) migrations(image, options string, moves int, join func(sockets ...string) (f *forwarder, end func())) {
	l.Helper()
	host := func(name, qmp string) *virtualMachine {
		m := l.machine(name, 1, image, l.socket(name))
		m.NetOpts, m.QMP, m.RAMFile = options, l.socket(qmp), l.ram(name)
		m.KernelArgs = append(m.KernelArgs, "init_on_alloc=0") // else it writes to buffers itself, and QEMU sends them for that
		return m
	}
	here, there := host("a", "qa"), host("b", "qb")
	peer := l.machine("peer", 9, image, l.socket("peer"))
	f, end := join(here.Socket, there.Socket, peer.Socket)
	defer end()
	l.switchOn(here)
	l.switchOn(peer)
	l.together(func() error { return l.ready(here) }, func() error { return l.ready(peer) })
	made, err := peer.app.Blob(l.ctx, commandLimit, migratedBytes)
	l.must(err)

	l.cancelled(f, here)
	for range moves {
		l.migrate(f, here, there, "http://"+peer.address+"/blob")
		got, err := there.app.EndFetch(l.ctx, commandLimit)
		l.must(err)
		if got.SHA256 != made.SHA256 || got.Bytes != made.Bytes {
			l.Errorf("the guest got %d bytes with SHA-256 %s, made were %d with %s", got.Bytes, got.SHA256, made.Bytes, made.SHA256)
		}
		l.together(func() error { return l.pings(there, peer, 3, 56) })
		l.together(func() error { return l.pings(peer, there, 3, 1400) })
		l.must(here.process.Kill())
		here, there = there, here
		there.process = nil
	}
	l.must(here.process.Kill())
	l.must(peer.process.Kill())
}

// ram makes an empty file for a guest's memory.
func (l *lab) ram(name string) string {
	l.Helper()
	path := filepath.Join("/dev/shm", filepath.Base(l.run)+"-"+name)
	l.atEnd(func() { os.Remove(path) })
	l.must(os.WriteFile(path, nil, 0o600))
	return path
}

// migrate moves a guest, which begins to download a file meanwhile, and goes on at the other machine.
func (l *lab) migrate(f *forwarder, from, to *virtualMachine, url string) {
	l.Helper()
	l.must(os.Truncate(to.RAMFile, 0))
	os.Remove(to.QMP) // of the QEMU that was there before
	to.Incoming = true
	l.switchOn(to)
	uri := map[string]any{"uri": "unix:" + l.socket("migration")}
	in, executeIn := l.waitControl(to)
	defer in.Close()
	out, execute := l.control(from)
	defer out.Close()
	executeIn("migrate-incoming", uri)
	f.forget()
	execute("migrate-set-parameters", map[string]any{"max-bandwidth": 24 << 20, "downtime-limit": 1})
	execute("migrate", uri)
	l.expect(f, "dirty log", from.Socket, `"marking": true`)
	// What is written to memory that was not sent yet is sent anyway. So most of it has to be under way before enough is written.
	l.eventually(func() error {
		var s struct {
			Status string
			RAM    struct{ Total, Remaining int64 }
		}
		answer, err := out.Execute(l.ctx, "query-migrate", nil)
		l.must(err)
		l.must(json.Unmarshal(answer, &s))
		if s.Status == "completed" || s.RAM.Total == 0 || s.RAM.Remaining > s.RAM.Total/3 {
			return fmt.Errorf("migration: %s", answer)
		}
		return nil
	})
	execute("migrate-set-parameters", map[string]any{"max-bandwidth": 64 << 10})
	l.must(from.app.BeginFetch(l.ctx, commandLimit, url))
	before := l.delivered(f, from)
	l.eventually(func() error {
		if moved := l.delivered(f, from) - before; moved < markedBytes {
			return fmt.Errorf("only %d bytes reached the guest while it migrates", moved)
		}
		return nil
	})
	execute("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 30, "downtime-limit": 2000})
	l.eventually(func() error {
		var s struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		answer, err := out.Execute(l.ctx, "query-migrate", nil)
		l.must(err)
		l.must(json.Unmarshal(answer, &s))
		if s.Status == "failed" {
			l.Fatalf("the guest did not migrate: %s", s.Error)
		}
		if s.Status != "completed" {
			return fmt.Errorf("migration: %s", answer)
		}
		return nil
	})
	l.eventually(func() error {
		var s struct{ Status string }
		answer, err := in.Execute(l.ctx, "query-status", nil)
		l.must(err)
		l.must(json.Unmarshal(answer, &s))
		if s.Status != "paused" && s.Status != "prelaunch" {
			return fmt.Errorf("at its destination the guest is %s", answer)
		}
		return nil
	})
	l.sameMemory(from, to)
	f.forget()
	executeIn("cont", nil)
	to.app, from.app = guest.Attach(to.process), nil
	l.expect(f, "SEND_RARP", to.Socket) // the announcement waits until the guest can send
	l.expect(f, "ring started", to.Socket)
}

// cancelled begins to move a guest and ends that, which nothing must come of.
func (l *lab) cancelled(f *forwarder, m *virtualMachine) {
	l.Helper()
	q, execute := l.control(m)
	defer q.Close()
	f.forget()
	execute("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 20})
	execute("migrate", map[string]any{"uri": "exec:cat > /dev/null"})
	l.expect(f, "dirty log", m.Socket, `"marking": true`)
	execute("migrate_cancel", nil)
	l.expect(f, "dirty log", m.Socket, `"marking": false`)
}

// sameMemory compares two machines' memory.
func (l *lab) sameMemory(a, b *virtualMachine) {
	l.Helper()
	x, err := os.ReadFile(a.RAMFile)
	l.must(err)
	y, err := os.ReadFile(b.RAMFile)
	l.must(err)
	if len(x) != guestMemoryMiB<<20 || len(y) != len(x) {
		l.Fatalf("the guest has %d bytes of memory here and %d there", len(x), len(y))
	}
	const page = 4096
	differ, first := 0, -1
	for at := 0; at < len(x); at += page {
		if !bytes.Equal(x[at:at+page], y[at:at+page]) {
			if differ++; first < 0 {
				first = at
			}
		}
	}
	if differ != 0 {
		l.Errorf("%d pages of the guest's memory did not arrive as they were, the first at %#x", differ, first)
	}
}

// waitControl is control for a QEMU that has just been started.
func (l *lab) waitControl(m *virtualMachine) (q *qmp.Client, execute func(command string, arguments map[string]any)) {
	l.Helper()
	l.eventually(func() error {
		q, err := qmp.Dial(l.ctx, m.QMP)
		if err == nil {
			q.Close()
		}
		return err
	})
	return l.control(m)
}

// TestSnapshots saves a running guest with its memory, lets it go on, and takes it back to where it was (savevm, loadvm).
func TestSnapshots(t *testing.T) {
	l := newLab(t)
	l.snapshots(func(a, b string) (*forwarder, func()) {
		f := l.forward(a, b)
		return f, func() { l.stop(f) }
	}, l.socket("a"))
}

// snapshots does so over what joins two sockets, and logs who as the name of the first one's port.
func (l *lab) snapshots(join func(a, b string) (f *forwarder, end func()), who string) {
	l.Helper()
	image := l.image()
	a := l.machine("a", 1, image, l.socket("a"))
	b := l.machine("b", 2, image, l.socket("b"))
	a.QMP, a.Disk = l.socket("qmp"), filepath.Join(l.out, "disk.qcow2")
	a.NetOpts = "packed=on"
	l.must(os.WriteFile(a.Disk, nil, 0o600))
	f, end := join(a.Socket, b.Socket)
	l.switchOn(a)
	l.switchOn(b)
	l.together(func() error { return l.ready(a) }, func() error { return l.ready(b) })
	first, err := a.app.Blob(l.ctx, commandLimit, 4<<20)
	l.must(err)
	q, execute := l.control(a)
	defer q.Close()
	job := func(command, id string, arguments map[string]any) {
		l.Helper()
		arguments["job-id"] = id
		execute(command, arguments)
		l.eventually(func() error {
			var jobs []struct{ ID, Status, Error string }
			answer, err := q.Execute(l.ctx, "query-jobs", nil)
			l.must(err)
			l.must(json.Unmarshal(answer, &jobs))
			for _, j := range jobs {
				if j.ID == id && j.Status == "concluded" {
					if j.Error != "" {
						l.Fatalf("%s: %s", command, j.Error)
					}
					return nil
				}
			}
			return fmt.Errorf("%s: %s", command, answer)
		})
		execute("job-dismiss", map[string]any{"id": id})
	}
	job("blockdev-create", "make", map[string]any{"options": map[string]any{"driver": "qcow2", "file": "disk-file", "size": 1 << 30}})
	execute("blockdev-add", map[string]any{"driver": "qcow2", "node-name": "disk", "file": "disk-file"})
	snapshot := map[string]any{"tag": "before", "vmstate": "disk", "devices": []string{"disk"}}
	l.must(b.app.StartFetch("http://" + a.address + "/endless"))
	f.forget()
	job("snapshot-save", "save", snapshot)
	l.expect(f, "ring stopped", who)
	l.expect(f, "ring started", who)
	_, err = a.app.Blob(l.ctx, commandLimit, 1<<20) // another one
	l.must(err)
	f.forget()
	begin := time.Now()
	job("snapshot-load", "load", snapshot)
	l.expect(f, "ring started", who)
	l.Logf("went back within %v", time.Since(begin))
	execute("cont", nil) // if it is stopped: from version 11 on QEMU goes on by itself
	l.must(b.process.Kill())
	l.switchOn(b)
	l.must(l.ready(b))
	l.must(l.download(a, b, first))
	l.together(func() error { return l.pings(a, b, 3, 56) }, func() error { return l.pings(b, a, 3, 1000) })
	l.together(func() error { return l.powerOff(a) }, func() error { return l.powerOff(b) })
	end()
}
