package vhostuser

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vvufwd/virtio"
)

// record is what a real front-end sent, connection by connection.
type record struct {
	offer       BackendConfig
	connections [][]Message
}

// loadRecords reads testdata/record; the key is the file's name without suffix.
func loadRecords(t testing.TB) map[string]record {
	t.Helper()
	names, err := filepath.Glob("testdata/record/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no records in testdata/record: %v", err)
	}
	records := map[string]record{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecord(bufio.NewScanner(f))
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		records[strings.TrimSuffix(filepath.Base(name), ".txt")] = r
	}
	return records
}

func parseRecord(lines *bufio.Scanner) (r record, err error) {
	requests := map[string]Request{}
	for i, name := range requestNames {
		if name != "" {
			requests[name] = Request(i)
		}
	}
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "#", "close":
		case "offer":
			if _, err := fmt.Sscanf(rest, "%v %v %d", &r.offer.Features, &r.offer.Protocol, &r.offer.Rings); err != nil {
				return r, fmt.Errorf("line %d: %w", n, err)
			}
		case "connect":
			r.connections = append(r.connections, nil)
		default:
			var m Message
			var fds int
			var payload string
			m.Request = requests[word]
			fields, err := fmt.Sscanf(rest, "%v %d %s", &m.Flags, &fds, &payload)
			if m.Request == 0 || fields < 2 {
				return r, fmt.Errorf("line %d: %q: %w", n, line, err)
			}
			if m.Payload, err = hex.DecodeString(payload); err != nil {
				return r, fmt.Errorf("line %d: %w", n, err)
			}
			m.FDs = make([]int, fds)
			last := len(r.connections) - 1
			r.connections[last] = append(r.connections[last], m)
		}
	}
	return r, lines.Err()
}

// TestRecords replays what real QEMUs sent: nothing may be refused, every
// question has its answer, and what ran when the record ended runs here.
func TestRecords(t *testing.T) {
	for name, r := range loadRecords(t) {
		t.Run(name, func(t *testing.T) {
			cfg := r.offer
			cfg.PassesFDs = true
			d := newModel(t, cfg)
			starts := 0
			for _, connection := range r.connections {
				d.b.Reset()
				clear(d.running)
				for _, m := range connection {
					replay(t, d, m)
					if m.Request == SetVringKick {
						starts++
					}
				}
				checkEnd(t, d, connection)
			}
			if len(r.connections) != 2 || starts < 4*r.offer.Rings {
				t.Errorf("the record has %d connections and %d ring starts; it is not the one described", len(r.connections), starts)
			}
		})
	}
}

func replay(t *testing.T, d *model, m Message) {
	t.Helper()
	d.must(m)
	if len(d.refused) > 0 {
		t.Fatalf("%v: %v", m, d.refused)
	}
	want := 0
	if m.Request.HasReply() || m.NeedsReply() {
		want = 1
	}
	if len(d.replies) != want {
		t.Fatalf("%v has %d replies, want %d", m, len(d.replies), want)
	}
	for _, r := range d.replies {
		if r.Request != m.Request || r.Flags != 5 || len(r.Payload) != 8 {
			t.Errorf("reply to %v is %v with flags %#x", m, r, r.Flags)
		}
		if !m.Request.HasReply() && !slices.Equal(r.Payload, make([]byte, 8)) {
			t.Errorf("acknowledgement of %v is %x, want zero", m, r.Payload)
		}
	}
	d.replies = nil
}

// checkEnd compares the rings that run with those that were kicked last and not
// stopped again, and their enable flags with the last ones sent: the recorded
// guest has one CPU and leaves its second queue pair disabled.
func checkEnd(t *testing.T, d *model, messages []Message) {
	t.Helper()
	running, enabled := map[int]bool{}, map[int]bool{}
	for _, m := range messages {
		if len(m.Payload) == 0 {
			continue
		}
		i := int(m.Payload[0])
		switch m.Request {
		case SetVringKick:
			running[i] = true
		case GetVringBase:
			delete(running, i)
		case SetVringEnable:
			enabled[i] = m.Payload[4] == 1
		}
	}
	if len(running) != len(d.running) {
		t.Errorf("rings %v run, want %v", d.runningRings(), running)
	}
	for i := range running {
		s := d.b.Ring(i)
		if !s.Ready || s.Enabled != enabled[i] || !s.Callable || s.KickNoFD || s.Num != 256 || s.Flags != 0 {
			t.Errorf("ring %d is %+v, want a running, callable one of 256, enabled %v", i, s, enabled[i])
		}
	}
	if !enabled[0] || !enabled[1] {
		t.Error("the record never enables the first pair")
	}
}

// forkAllows are the requests that the 2019 QEMU fork's device lets through
// (contract 3.2). Any other makes it drop the session.
var forkAllows = []Request{
	GetFeatures, SetFeatures, SetOwner, ResetOwner, SetMemTable, SetVringNum, SetVringAddr, SetVringBase, GetVringBase,
	SetVringKick, SetVringCall, GetProtocolFeatures, SetProtocolFeatures, GetQueueNum, SetVringEnable,
}

// TestRecordsBehindFork sends the records of QEMU 11 through the fork's device:
// it drops the session at every SET_VRING_ERR, the driver comes back, and the
// session must go on as if nothing had been lost. Then the front-end's process
// is killed, and its successor must find a fresh session.
func TestRecordsBehindFork(t *testing.T) {
	for name, r := range loadRecords(t) {
		if r.offer.Protocol != ProtoMQ {
			continue // the fork would have masked more out: not the conversation recorded
		}
		t.Run(name, func(t *testing.T) {
			d := newModel(t, r.offer)
			drops, resets := 0, 0
			for n, connection := range r.connections {
				if n > 0 {
					d.bounce() // the socket was closed
				}
				for _, m := range connection {
					m.FDs = nil
					if !slices.Contains(forkAllows, m.Request) {
						d.bounce()
						drops++
						continue
					}
					replay(t, d, m)
					if strings.Contains(d.takeEffects(), "reset") {
						resets++
						if m.Request != SetOwner || n == 0 {
							t.Errorf("connection %d: %v dropped the session", n, m)
						}
					}
				}
				checkEnd(t, d, connection)
				if got := d.b.Protocol(); got != ProtoMQ {
					t.Errorf("connection %d: protocol features %v, want MQ", n, got)
				}
				if want := r.offer.Features | virtio.ProtocolFeatures; d.b.Features()&^want != 0 || !d.b.Features().Has(virtio.Version1|virtio.ProtocolFeatures) {
					t.Errorf("connection %d: features %v, want of %v", n, d.b.Features(), want)
				}
			}
			wantDrops := len(r.connections) * r.offer.Rings
			if strings.HasPrefix(name, "qemu52") {
				wantDrops = 0 // it sends no SET_VRING_ERR
			}
			if drops != wantDrops || resets != 1 {
				t.Errorf("%d drops and %d resets, want %d and 1", drops, resets, wantDrops)
			}
		})
	}
}

// TestQEMUStylePlaysTheRecord compares Frontend's QEMU with the real one.
func TestQEMUStylePlaysTheRecord(t *testing.T) {
	for name, r := range loadRecords(t) {
		t.Run(name, func(t *testing.T) {
			style := QEMU
			if strings.HasPrefix(name, "qemu52") {
				style = QEMUOld
			}
			d := newModel(t, r.offer)
			cfg := testFrontend(style, r.offer.Rings/2)
			cfg.MTU = 0 // the recorded ones had no host_mtu
			f := NewFrontend(d, cfg)
			f.cfg.Regions, f.cfg.Files = testRegions[:1], f.cfg.Files[:1]
			var recorded []string
			for _, m := range r.connections[0] {
				recorded = append(recorded, fmt.Sprint(uint32(m.Request)))
			}
			all := " " + strings.Join(recorded, " ") + " "
			for _, part := range []struct {
				name string
				play func() error
			}{
				{"connect", f.Connect},
				{"start", f.Start},
				{"stop", func() error { _, err := f.Stop(); return err }},
				{"resume", f.Resume},
			} {
				if err := part.play(); err != nil {
					t.Fatal(err)
				}
				got := " " + d.takeOrders() + " "
				if part.name == "connect" && !strings.HasPrefix(all, got) || !strings.Contains(all, got) {
					t.Errorf("%s plays%s, which is not in the record:\n%s", part.name, got, all)
				}
			}
		})
	}
}
