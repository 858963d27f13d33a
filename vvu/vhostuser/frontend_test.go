package vhostuser

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/virtio"
)

const (
	testFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.EventIdx | virtio.NetMQ
	vvuProtocol  = ProtoMQ // what the fork's device lets through
)

var testRegions = []MemoryRegion{
	{GPA: 0, Size: 0xa0000, UVA: 0x7f0000000000},
	{GPA: 0xc0000, Size: 0x0ff40000, UVA: 0x7f00000c0000, Offset: 0xc0000},
}

// testFrontend returns a front-end config with fake descriptors.
func testFrontend(style Style, pairs int) FrontendConfig {
	cfg := FrontendConfig{Style: style, Features: testFeatures | virtio.NetMAC, MTU: 1400, Regions: testRegions, Files: []int{100, 101}}
	for i := range 2 * pairs {
		base := 0x7f0000100000 + uint64(i)<<16
		cfg.Rings = append(cfg.Rings, FrontendRing{
			Num: 256, Desc: base, Avail: base + 0x1000, Used: base + 0x2000, Kick: 200 + i, Call: 300 + i,
		})
	}
	return cfg
}

// wantRing is the state of ring i of testFrontend while it runs.
func wantRing(i int, base uint32) RingState {
	addr := 0x7f0000100000 + uint64(i)<<16
	return RingState{
		Num: 256, Base: base, Desc: addr, Avail: addr + 0x1000, Used: addr + 0x2000,
		Enabled: true, HaveKick: true, Callable: true, Ready: true,
	}
}

// TestFrontendOrders compares the orders played with the contract's, number by
// number.
func TestFrontendOrders(t *testing.T) {
	for _, tc := range []struct {
		style                Style
		protocol             ProtocolFeatures
		pairs                int
		connect, start, stop string
		reconnect            string
	}{
		{
			style: QEMU, protocol: ProtoMQ, pairs: 1,
			connect:   "1 15 16 17 3 1 13 14 13 14 18 1 18 1",
			start:     "18 1 18 1 2 5 8 10 9 12 13 8 10 9 12 13",
			stop:      "11 11",
			reconnect: "1 15 16 17 3 1 13 14 13 14 18 1 18 1",
		},
		{
			style: QEMU, protocol: ProtoMQ, pairs: 2,
			connect:   "1 15 16 17 3 1 13 14 13 14 1 15 16 1 13 14 13 14 18 1 18 1 18 1 18 1",
			start:     "18 1 18 1 2 5 8 10 9 12 13 8 10 9 12 13 2 8 10 9 12 13 8 10 9 12 13 18 1 18 1",
			stop:      "11 11 11 11",
			reconnect: "1 15 16 17 3 1 13 14 13 14 1 15 16 1 13 14 13 14 18 1 18 1 18 1 18 1",
		},
		{
			style: QEMU, protocol: SupportedProtocol, pairs: 1,
			connect:   "1 15 16 17 36 3 1 13 14 13 14 34 18 18",
			start:     "20 18 18 2 40 39 37 37 8 10 9 12 13 8 10 9 12 13 40 39",
			stop:      "11 11 39",
			reconnect: "1 15 16 17 36 3 1 13 14 13 14 34 18 18",
		},
		{
			style: QEMUOld, protocol: ProtoMQ, pairs: 1,
			connect:   "1 15 16 17 3 1 13 13 18 18",
			start:     "2 5 8 10 9 12 13 8 10 9 12 13 18 18",
			stop:      "11 11",
			reconnect: "1 15 16 17 3 1 13 13 18 18",
		},
		{
			style: VirtioUser, protocol: SupportedProtocol, pairs: 2,
			connect:   "3 1 15 16",
			start:     "13 13 13 13 2 39 40 40 5 8 10 9 12 8 10 9 12 8 10 9 12 8 10 9 12 18 18 39 18 18",
			stop:      "18 18 18 18 11 11 11 11",
			reconnect: "18 18 18 18 11 11 11 11 1 15 16",
		},
		{
			style: CloudHypervisor, protocol: ProtoMQ, pairs: 1,
			connect:   "3 1 15 16 17",
			start:     "2 5 8 8 9 10 13 12 9 10 13 12 18 18",
			stop:      "18 11 18 11",
			reconnect: "3 1 16",
		},
		{
			style: Crosvm, protocol: SupportedProtocol, pairs: 1,
			connect:   "3 1 2 15 16 17 24",
			start:     "2 5 8 9 10 13 12 18 8 9 10 13 12 18",
			stop:      "18 11 18 11",
			reconnect: "3 1 2 15 16 17 24",
		},
	} {
		t.Run(fmt.Sprintf("%s/%v/%d", tc.style.Name, tc.protocol, tc.pairs), func(t *testing.T) {
			d := newModel(t, BackendConfig{Features: testFeatures, Protocol: tc.protocol, Rings: 2 * tc.pairs})
			f := NewFrontend(d, testFrontend(tc.style, tc.pairs))
			check := func(what string, err error, want string) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				d.quiet()
				if got := d.takeOrders(); got != want {
					t.Errorf("%s:\n got %s\nwant %s", what, got, want)
				}
			}
			check("connect", f.Connect(), tc.connect)
			check("start", f.Start(), tc.start)
			_, err := f.Stop()
			check("stop", err, tc.stop)
			d.b.Reset()
			check("reconnect", f.Reconnect(d), tc.reconnect)
		})
	}
}

// TestFrontendLives takes every style through a life: connect, start, pause and
// resume, guest reboot, loss of the connection while running, and start again;
// and checks the rings at each station.
func TestFrontendLives(t *testing.T) {
	for _, style := range Styles() {
		for _, protocol := range []ProtocolFeatures{0, vvuProtocol, SupportedProtocol} {
			for pairs := 1; pairs <= 3; pairs++ {
				t.Run(fmt.Sprintf("%s/%v/%d", style.Name, protocol, pairs), func(t *testing.T) {
					for _, passesFDs := range []bool{false, true} {
						life(t, testFrontend(style, pairs), BackendConfig{
							Features: testFeatures, Protocol: protocol, Rings: 2 * pairs, PassesFDs: passesFDs, MTU: 1500,
						})
					}
				})
			}
		}
	}
}

func life(t *testing.T, cfg FrontendConfig, backend BackendConfig) {
	d := newModel(t, backend)
	f := NewFrontend(d, cfg)
	rings := len(cfg.Rings)
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		d.quiet()
		if len(d.refused) > 0 {
			t.Fatalf("%s: refused: %v", what, d.refused)
		}
	}
	checkRunning := func(what string, base uint32) {
		t.Helper()
		if got, want := d.b.Features(), testFeatures|virtio.ProtocolFeatures; got != want {
			t.Errorf("%s: features %v, want %v", what, got, want)
		}
		if diff := cmp.Diff(testRegions, d.b.Regions()); diff != "" {
			t.Errorf("%s: memory (-want +got):\n%s", what, diff)
		}
		for i := range rings {
			if diff := cmp.Diff(wantRing(i, base), d.b.Ring(i)); diff != "" {
				t.Errorf("%s: ring %d (-want +got):\n%s", what, i, diff)
			}
		}
		if len(d.running) != rings {
			t.Errorf("%s: rings %v run, want %d", what, d.runningRings(), rings)
		}
	}

	step("connect", f.Connect())
	wantNum := uint64(0)
	if f.Protocol().Has(ProtoMQ) {
		wantNum = uint64(rings)
	}
	if want := backend.Protocol & cfg.Style.wants; f.Protocol() != want || f.QueueNum() != wantNum && cfg.Style.Name != VirtioUser.Name {
		t.Errorf("protocol features %v, want %v; %d queues, want %d", f.Protocol(), want, f.QueueNum(), wantNum)
	}
	if len(d.running) != 0 {
		t.Errorf("after connect rings %v run", d.runningRings())
	}
	step("start", f.Start())
	checkRunning("start", 0)
	wantMTU := backend.MTU
	if (cfg.Style.Name == QEMU.Name || cfg.Style.Name == Vvudev.Name) && f.Protocol().Has(ProtoMTU) {
		wantMTU = cfg.MTU
	}
	if got := d.b.MTU(); got != wantMTU {
		t.Errorf("MTU %d, want %d", got, wantMTU)
	}
	if f.Features() != testFeatures {
		t.Errorf("the front-end has features %v, want %v", f.Features(), testFeatures)
	}

	d.work(70)
	bases, err := f.Stop()
	step("pause", err)
	if want := slices.Repeat([]uint32{70}, rings); !slices.Equal(bases, want) {
		t.Errorf("pause: positions %v, want %v", bases, want)
	}
	if len(d.running) != 0 {
		t.Errorf("after pause rings %v run", d.runningRings())
	}
	step("resume", f.Resume())
	resumed := uint32(70)
	if cfg.Style.Name == Crosvm.Name {
		resumed = 0 // it always starts at 0
	}
	checkRunning("resume", resumed)

	_, err = f.Stop()
	step("reboot", err)
	step("start after reboot", f.Start())
	checkRunning("start after reboot", 0)

	// The connection is lost, on a socket and behind a vvu device, and later
	// comes back with the rings set up afresh.
	for range 10 {
		d.work(3)
		d.bounce()
		if d.b.Regions() != nil {
			t.Error("memory is known after the connection was lost")
		}
		step("reconnect", f.Reconnect(d))
		if len(d.running) != 0 {
			t.Errorf("after reconnect rings %v run", d.runningRings())
		}
		step("start after reconnect", f.Start())
		checkRunning("start after reconnect", 0)
	}
	clear(d.running)
	d.b.Reset()
	step("reconnect after reset", f.Reconnect(d))
	step("start after reset", f.Start())
	checkRunning("start after reset", 0)
}

// TestFrontendFewerRingsServed is a front-end with more pairs than are served:
// its further rings are taken note of and have no effects (contract 4.2).
func TestFrontendFewerRingsServed(t *testing.T) {
	for _, style := range Styles() {
		t.Run(style.Name, func(t *testing.T) {
			d := newModel(t, BackendConfig{Features: testFeatures, Protocol: vvuProtocol, Rings: 2})
			f := NewFrontend(d, testFrontend(style, 3))
			if err := f.Connect(); err != nil {
				t.Fatal(err)
			}
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			if got := d.runningRings(); !slices.Equal(got, []int{0, 1}) {
				t.Errorf("rings %v run, want 0 and 1", got)
			}
			d.work(5)
			bases, err := f.Stop()
			if want := []uint32{5, 5, 0, 0, 0, 0}; err != nil || !slices.Equal(bases, want) {
				t.Errorf("stop: positions %v, %v, want %v", bases, err, want)
			}
		})
	}
}

// TestFrontendWithoutCall is a guest that polls: no call descriptor.
func TestFrontendWithoutCall(t *testing.T) {
	for _, style := range Styles() {
		t.Run(style.Name, func(t *testing.T) {
			cfg := testFrontend(style, 1)
			for i := range cfg.Rings {
				cfg.Rings[i].Call, cfg.Rings[i].Kick = -1, -1
			}
			d := newModel(t, BackendConfig{Features: testFeatures, Protocol: vvuProtocol, PassesFDs: true})
			f := NewFrontend(d, cfg)
			if err := f.Connect(); err != nil {
				t.Fatal(err)
			}
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			for i := range cfg.Rings {
				if s := d.b.Ring(i); !s.Ready || s.Callable || !s.KickNoFD {
					t.Errorf("ring %d is %+v, want ready, polled on both sides", i, s)
				}
			}
			if strings.Contains(d.takeEffects(), "signal") {
				t.Error("a guest that polls was to be signalled")
			}
		})
	}
}

// scripted answers every read with the next of its messages.
type scripted struct{ answers []Message }

func (s *scripted) WriteMessage(Message) error { return nil }
func (s *scripted) ReadMessage() (Message, error) {
	if len(s.answers) == 0 {
		return Message{}, errHang
	}
	m := s.answers[0]
	s.answers = s.answers[1:]
	return m, nil
}

// TestFrontendIsStrict checks that the front-end refuses what QEMU would refuse:
// without it the tests above would prove little.
func TestFrontendIsStrict(t *testing.T) {
	good := NewReply(GetFeatures, U64(testFeatures))
	for name, tc := range map[string]struct {
		answer Message
		want   string
	}{
		"need_reply echoed": {Message{Request: GetFeatures, Flags: ReplyFlags | FlagNeedReply, Payload: good.Payload}, "flags"},
		"other request":     {NewReply(GetQueueNum, U64(1)), "want one to GET_FEATURES"},
		"short payload":     {Message{Request: GetFeatures, Flags: ReplyFlags, Payload: good.Payload[:4]}, "4 bytes"},
		"long payload":      {Message{Request: GetFeatures, Flags: ReplyFlags, Payload: make([]byte, 16)}, "16 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			err := NewFrontend(&scripted{[]Message{tc.answer}}, testFrontend(QEMU, 1)).Connect()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	t.Run("failed acknowledgement", func(t *testing.T) {
		offered := NewReply(GetFeatures, U64(virtio.ProtocolFeatures))
		answers := []Message{
			offered, NewReply(GetProtocolFeatures, U64(ProtoReplyAck)), offered, Ack(SetVringCall, 1),
		}
		err := NewFrontend(&scripted{answers}, testFrontend(QEMU, 1)).Connect()
		if err == nil || !strings.Contains(err.Error(), "SET_VRING_CALL with error 1") {
			t.Errorf("got %v, want the failed acknowledgement", err)
		}
	})
	t.Run("wrong ring stopped", func(t *testing.T) {
		f := NewFrontend(&scripted{[]Message{NewReply(GetVringBase, VringState{Index: 1})}}, testFrontend(QEMU, 1))
		if _, err := f.Stop(); err == nil || !strings.Contains(err.Error(), "for ring 1, want 0") {
			t.Errorf("got %v, want a complaint about the ring", err)
		}
	})
}

// asked keeps which requests were to be acknowledged.
type asked struct {
	Transport
	flags map[Request][]uint32
}

func (a *asked) WriteMessage(m Message) error {
	a.flags[m.Request] = append(a.flags[m.Request], m.Flags)
	return a.Transport.WriteMessage(m)
}

// A back-end discards what lies in a transmit ring that is not enabled (vhost-user, "Ring states"). Vvudev's front-end
// says when there may be something, so it waits until each ring is.
func TestVvudevWaitsForEnabledRings(t *testing.T) {
	a := &asked{newModel(t, BackendConfig{Features: testFeatures, Protocol: SupportedProtocol, Rings: 4}), map[Request][]uint32{}}
	f := NewFrontend(a, testFrontend(Vvudev, 2))
	if err := errors.Join(f.Connect(), f.Start(), f.Enable(1, false), f.Enable(1, true)); err != nil {
		t.Fatal(err)
	}
	if n := len(a.flags[SetVringEnable]); n < 6 {
		t.Fatalf("rings were enabled or disabled %d times, want 6 or more", n)
	}
	for _, flags := range a.flags[SetVringEnable] {
		if flags&FlagNeedReply == 0 {
			t.Errorf("SET_VRING_ENABLE with flags %#x, which no one acknowledges", flags)
		}
	}
}
