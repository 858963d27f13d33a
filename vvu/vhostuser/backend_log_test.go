package vhostuser

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/virtio"
)

// A guest that migrates: its front-end sends a log and has writes marked, in the orders of
// QEMU and of cloud-hypervisor. No ring stops for it.
func TestDirtyLogOrders(t *testing.T) {
	for _, tc := range []struct {
		style              Style
		begin, again, end  string
		beginWant, endWant []string
	}{
		{QEMU, "6 2 9 9", "6", "2 9 9", []string{"log", "logging", "ring 0", "ring 1"}, []string{"logging", "ring 0", "ring 1"}},
		{CloudHypervisor, "6 2 9 9", "6", "9 9 2", []string{"log", "logging", "ring 0", "ring 1"}, []string{"ring 0", "ring 1", "logging"}},
	} {
		t.Run(tc.style.Name, func(t *testing.T) {
			d := newModel(t, BackendConfig{Features: testFeatures, Protocol: ProtoReplyAck | ProtoLogShmFD, PassesFDs: true})
			cfg := testFrontend(tc.style, 1)
			cfg.Files = make([]int, len(cfg.Regions))
			for i := range cfg.Rings {
				cfg.Rings[i].UsedGPA = uint64(0x5000 + i)
			}
			f := NewFrontend(d, cfg)
			if err := errors.Join(f.Connect(), f.Start()); err != nil {
				t.Fatal(err)
			}
			d.takeOrders()
			d.effects = nil
			log := Log{Size: 4096, Offset: 3}
			if err := errors.Join(f.SetLog(log, 0), f.Mark(true)); err != nil {
				t.Fatal(err)
			}
			if got := d.takeOrders(); got != tc.begin {
				t.Errorf("to begin: %s, want %s", got, tc.begin)
			}
			if diff := cmp.Diff(tc.beginWant, d.effects); diff != "" {
				t.Errorf("effects of the beginning (-want +got):\n%s", diff)
			}
			if got, ok := d.b.Log(); !ok || got != log || !d.b.Logging() {
				t.Errorf("log %+v %v, logging %v", got, ok, d.b.Logging())
			}
			for i := range 2 {
				if s := d.b.Ring(i); s.Flags != VringAddrLog || s.Log != uint64(0x5000+i) || !s.Ready {
					t.Errorf("ring %d: %+v", i, s)
				}
			}
			if err := f.SetLog(log, 0); err != nil {
				t.Error(err)
			}
			if got := d.takeOrders(); got != tc.again {
				t.Errorf("another log: %s", got)
			}
			d.effects = nil
			if err := f.Mark(false); err != nil {
				t.Error(err)
			}
			if got := d.takeOrders(); got != tc.end {
				t.Errorf("to end: %s, want %s", got, tc.end)
			}
			if diff := cmp.Diff(tc.endWant, d.effects); diff != "" {
				t.Errorf("effects of the end (-want +got):\n%s", diff)
			}
			if d.b.Logging() || !d.running[0] || !d.running[1] {
				t.Errorf("logging %v, running %v", d.b.Logging(), d.running)
			}
			if _, ok := d.b.Log(); ok {
				t.Error("the log outlives the migration")
			}
			if err := f.SetLog(log, 0); err != nil {
				t.Error(err)
			}
			d.b.Bounce()
			if _, ok := d.b.Log(); ok {
				t.Error("the log outlives the memory")
			}
		})
	}
}

// What is no log is no session either; without LOG_SHMFD nothing of it exists.
func TestDirtyLogViolations(t *testing.T) {
	with := BackendConfig{Protocol: ProtoLogShmFD, PassesFDs: true}
	good := NewRequest(SetLogBase, Log{Size: 4096}, 0)
	for name, tc := range map[string]struct {
		cfg  BackendConfig
		m    Message
		want string // "": accepted
	}{
		"good":          {with, good, ""},
		"no file":       {with, NewRequest(SetLogBase, Log{Size: 4096}), "0 file descriptors"},
		"two files":     {with, NewRequest(SetLogBase, Log{Size: 4096}, 0, 1), "2 file descriptors"},
		"empty":         {with, NewRequest(SetLogBase, Log{}, 0), "a log of 0 bytes"},
		"wraps":         {with, NewRequest(SetLogBase, Log{Size: 10, Offset: ^uint64(0) - 5}, 0), "a log of 10 bytes"},
		"an address":    {with, NewRequest(SetLogBase, U64(0x7f0000000000), 0), "payload is 8 bytes"},
		"no feature":    {BackendConfig{PassesFDs: true}, good, "LOG_SHMFD"},
		"notifier":      {with, NewRequest(SetLogFD, nil, 0), ""},
		"notifier, u64": {with, NewRequest(SetLogFD, U64(0), 0), ""},
		"no notifier":   {with, NewRequest(SetLogFD, nil), "0 file descriptors"},
	} {
		b := NewBackend(tc.cfg)
		if got := virtio.Features(b.cfg.Features).Has(virtio.LogAll); got != tc.cfg.Protocol.Has(ProtoLogShmFD) {
			t.Errorf("%s: LOG_ALL is offered: %v", name, got)
		}
		reply, _, err := b.Handle(tc.m)
		var v *Violation
		if tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &v) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if tc.m.Request == SetLogBase && (reply == nil || len(reply.Payload) != LogSize || reply.Flags != ReplyFlags) {
			t.Errorf("%s: reply %v", name, reply)
		}
	}
}
