package shadow_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/vhostuser"
)

// A driver VM that says what it should not, or nothing, has no session; the next one that behaves has.
func TestBrokenAnswers(t *testing.T) {
	silent := func(q vhostuser.Request) func(vhostuser.Message, *vhostuser.Message) *vhostuser.Message {
		return func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message {
			if m.Request == q {
				return nil
			}
			return reply
		}
	}
	instead := func(q vhostuser.Request, with vhostuser.Message) func(vhostuser.Message, *vhostuser.Message) *vhostuser.Message {
		return func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message {
			if m.Request == q {
				return &with
			}
			return reply
		}
	}
	for name, answer := range map[string]func(vhostuser.Message, *vhostuser.Message) *vhostuser.Message{
		"nothing to the first question": silent(vhostuser.GetFeatures),
		"nothing to a later one":        silent(vhostuser.GetQueueNum),
		"nothing to the memory table":   silent(vhostuser.SetMemTable),
		"another request":               instead(vhostuser.GetFeatures, vhostuser.NewReply(vhostuser.GetQueueNum, vhostuser.U64(1))),
		"flags of a request":            instead(vhostuser.GetFeatures, vhostuser.NewRequest(vhostuser.GetFeatures, vhostuser.U64(1))),
		"too short":                     instead(vhostuser.GetFeatures, vhostuser.Message{Request: vhostuser.GetFeatures, Flags: vhostuser.ReplyFlags, Payload: []byte{1, 2, 3}}),
		"no features":                   instead(vhostuser.GetFeatures, vhostuser.NewReply(vhostuser.GetFeatures, vhostuser.U64(0))),
		"an error":                      instead(vhostuser.SetMemTable, vhostuser.Ack(vhostuser.SetMemTable, 1)),
		"what no one has asked for": func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message {
			if m.Request == vhostuser.SetOwner {
				r := vhostuser.Ack(vhostuser.SetOwner, 0)
				return &r
			}
			return reply
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newEvilRig(t, false)
			r.answer = answer
			r.shadow.SetFrontend(shadow.Frontend{Session: 1})
			if strings.HasPrefix(name, "nothing") {
				time.Sleep(20 * time.Millisecond) // long enough for it to hang, if it is not to be
			} else {
				eventually(t, "the end of a session", func() bool { return r.logs.FilterMessage("ended the session with the driver VM").Len() > 0 })
			}
			r.mu.Lock()
			r.answer = nil
			r.mu.Unlock()
			r.passes(r.connect(2))
		})
	}
}

// A driver VM that is asked to stop its rings may answer what it likes, or nothing: the session ends, and the next app VM's is good.
func TestBrokenFarewell(t *testing.T) {
	base := func(v vhostuser.VringState) *vhostuser.Message {
		m := vhostuser.NewReply(vhostuser.GetVringBase, v)
		return &m
	}
	for name, with := range map[string]*vhostuser.Message{
		"nothing":         nil,
		"another ring":    base(vhostuser.VringState{Index: 7}),
		"a ring far away": base(vhostuser.VringState{Index: 1 << 31}),
		"a place far off": base(vhostuser.VringState{Num: 0xffffffff}),
		"too short":       {Request: vhostuser.GetVringBase, Flags: vhostuser.ReplyFlags, Payload: []byte{1}},
		"too long":        {Request: vhostuser.GetVringBase, Flags: vhostuser.ReplyFlags, Payload: make([]byte, 4096)},
		"another request": {Request: vhostuser.GetFeatures, Flags: vhostuser.ReplyFlags, Payload: make([]byte, 8)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newEvilRig(t, false)
			e := r.connect(1)
			r.passes(e)
			r.mu.Lock()
			r.answer = func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message {
				if m.Request == vhostuser.GetVringBase {
					return with
				}
				return reply
			}
			r.mu.Unlock()
			r.shadow.SetFrontend(shadow.Frontend{})
			eventually(t, "the end of the session", func() bool { return r.shadow.Ports()[0].State() == virtionet.StateIdle && wiped(t, r.memory) })
			r.mu.Lock()
			r.answer = nil
			r.mu.Unlock()
			r.passes(r.connect(2))
		})
	}
}

// wiped reports whether there is nothing in a region.
func wiped(t *testing.T, m *shadow.Memory) bool {
	f, err := m.Dup()
	must(t, err)
	defer f.Close()
	b := make([]byte, shadow.Need(1))
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return len(bytes.Trim(b, "\x00")) == 0
}

// As many queue pairs as the driver VM says it has, but no more than there are.
func TestBoastfulDriver(t *testing.T) {
	r := newEvilRig(t, false)
	r.answer = func(m vhostuser.Message, reply *vhostuser.Message) *vhostuser.Message {
		if m.Request == vhostuser.GetQueueNum {
			many := vhostuser.NewReply(m.Request, vhostuser.U64(^uint64(0)))
			return &many
		}
		return reply
	}
	r.passes(r.connect(1))
}
