package vhostuser

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/virtio"
)

// Whoever asks for configuration gets an answer, wherever the piece lies and whatever was
// negotiated: crosvm asks for what its guest reads, Linux first for the MTU alone.
func TestConfigIsAnsweredAnywhere(t *testing.T) {
	for name, cfg := range map[string]BackendConfig{
		"offered": {Features: testFeatures, Protocol: ProtoConfig}, "not offered": {Features: testFeatures},
	} {
		cfg.MAC, cfg.MTU, cfg.Rings = [6]byte{2, 1, 2, 3, 4, 5}, 1500, 9
		whole := make([]byte, 5000)
		copy(whole, []byte{2, 1, 2, 3, 4, 5, 1, 0, 4, 0, 0xdc, 5, 0xff, 0xff, 0xff, 0xff, 0xff})
		d := newModel(t, cfg)
		for _, piece := range []struct{ offset, size uint32 }{
			{0, 17}, {10, 2}, {8, 2}, {0, 1}, {6, 1}, {7, 4}, {16, 16}, {0, 0}, {0, 64}, {250, 20}, {256, 1}, {300, 300}, {0, maxConfigData}, {900, maxConfigData},
		} {
			for _, bringsRoom := range []bool{true, false} {
				m := NewRequest(GetConfig, Config{Offset: piece.offset, Data: make([]byte, piece.size)})
				if !bringsRoom {
					m.Payload = m.Payload[:ConfigHeaderSize]
				}
				d.replies = nil
				d.must(m)
				want := Config{Offset: piece.offset, Data: whole[piece.offset : piece.offset+piece.size]}.Append(nil)
				if len(d.refused) != 0 || len(d.replies) != 1 {
					t.Fatalf("%s: %+v: refused %v, %d replies", name, piece, d.refused, len(d.replies))
				}
				if diff := cmp.Diff(want, d.replies[0].Payload); diff != "" {
					t.Errorf("%s: %+v (-want +got):\n%s", name, piece, diff)
				}
			}
		}
		last := NewRequest(GetConfig, Config{Offset: ^uint32(0), Data: []byte{1, 2}})
		d.replies = nil
		d.must(last)
		if got := d.replies[0].Payload[ConfigHeaderSize:]; got[0]|got[1] != 0 {
			t.Errorf("%s: %x at the end of all offsets", name, got)
		}
		long := NewRequest(GetConfig, Config{})
		binary.LittleEndian.PutUint32(long.Payload[4:], ^uint32(0))
		d.replies = nil
		d.must(long)
		if len(d.refused) != 1 || len(d.replies) != 1 || len(d.replies[0].Payload) != 0 {
			t.Errorf("%s: 4 GiB of configuration: refused %v, replies %v", name, d.refused, d.replies)
		}
	}
}

// A front-end may send the whole space when its guest has written a byte of it (QEMU's
// generic device does). Only a changed address counts.
func TestSetConfigOfAll(t *testing.T) {
	d := newModel(t, allConfig)
	all := func(change func(c *netConfig)) Message {
		c := d.b.config
		change(&c)
		return NewRequest(SetConfig, Config{Data: c[:64]})
	}
	d.must(all(func(*netConfig) {}))
	if got := d.takeEffects(); got != "" || len(d.refused) != 0 {
		t.Errorf("nothing changed: effects %q, refused %v", got, d.refused)
	}
	d.must(all(func(c *netConfig) { c[3] = 7 }))
	if got := d.takeEffects(); got != "config" || d.b.MAC() != [6]byte{2, 0, 0, 7, 0, 1} {
		t.Errorf("address changed: effects %q, address %x", got, d.b.MAC())
	}
	d.must(all(func(c *netConfig) { c[3], c[10] = 8, 8 }))
	if d.takeEffects() != "" || len(d.refused) != 1 || d.b.MAC()[3] != 7 {
		t.Errorf("address and MTU changed: refused %v, address %x", d.refused, d.b.MAC())
	}
	d.b.FixMAC([6]byte{2, 0, 0, 0, 0, 9})
	d.must(all(func(c *netConfig) { c[5] = 8 }))
	if d.takeEffects() != "" || len(d.refused) != 2 || d.b.MAC()[5] != 9 {
		t.Errorf("a fixed address changed: refused %v, address %x", d.refused, d.b.MAC())
	}
}

// What is offered is true: an address only if there is one, and an MTU only if one is
// known, or no one reads it from here.
func TestTrueOffers(t *testing.T) {
	offers := func(d *model) virtio.Features {
		d.replies = nil
		d.must(NewRequest(GetFeatures, nil))
		return virtio.Features(binary.LittleEndian.Uint64(d.replies[0].Payload)) & (virtio.NetMAC | virtio.NetMTU)
	}
	protocol := func(p ProtocolFeatures) Message { return NewRequest(SetProtocolFeatures, U64(p)) }
	for name, tt := range map[string]struct {
		cfg  BackendConfig
		say  []Message
		want virtio.Features
	}{
		"nothing known":           {BackendConfig{}, nil, 0},
		"mtu":                     {BackendConfig{MTU: 1500}, nil, virtio.NetMTU},
		"mac":                     {BackendConfig{MAC: [6]byte{2}}, nil, virtio.NetMAC},
		"mac of zeros":            {BackendConfig{Features: virtio.NetMAC}, nil, 0},
		"QEMU, before":            {BackendConfig{}, []Message{NewRequest(GetFeatures, nil)}, 0},
		"QEMU":                    {BackendConfig{}, []Message{protocol(ProtoMTU | ProtoMQ)}, virtio.NetMTU},
		"virtio-user":             {BackendConfig{}, []Message{protocol(ProtoMQ)}, virtio.NetMTU},
		"cloud-hypervisor":        {BackendConfig{}, []Message{protocol(ProtoConfig | ProtoMQ)}, 0},
		"QEMU's generic device":   {BackendConfig{}, []Message{protocol(ProtoConfig | ProtoMQ | ProtoMTU)}, 0},
		"it, with an MTU":         {BackendConfig{}, []Message{protocol(ProtoConfig | ProtoMTU), NewRequest(NetSetMTU, U64(1400))}, virtio.NetMTU},
		"QEMU after a bounce":     {BackendConfig{}, []Message{protocol(ProtoMTU), {Request: fuzzBounce}}, virtio.NetMTU},
		"a new owner of a bounce": {BackendConfig{}, []Message{protocol(ProtoMTU), {Request: fuzzBounce}, NewRequest(SetOwner, nil)}, 0},
		"16 before 3":             {BackendConfig{}, []Message{protocol(ProtoConfig), {Request: fuzzBounce}, protocol(ProtoMTU), NewRequest(SetOwner, nil)}, virtio.NetMTU},
	} {
		tt.cfg.Protocol = SupportedProtocol
		d := newModel(t, tt.cfg)
		for _, m := range tt.say {
			if m.Request == fuzzBounce {
				d.bounce()
				continue
			}
			d.must(m)
		}
		if got := offers(d); got != tt.want {
			t.Errorf("%s: offers %v, want %v", name, got, tt.want)
		}
	}
}
