package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"go.uber.org/zap/zapcore"

	"vvufwd/cmd/internal/control"
	"vvufwd/cmd/internal/logging"
	"vvufwd/cmd/internal/reports"
	"vvufwd/netfwd"
	"vvufwd/netfwd/nic"
	virtionet "vvufwd/virtio/net"
)

// oneCard opens a card once, and never again.
type oneCard struct {
	nic.Card
	nic.Queue
	opened bool
}

func (c *oneCard) Open(int, func(error)) (nic.Card, error) {
	if c.opened {
		return nil, errors.New("it is gone")
	}
	c.opened = true
	return c, nil
}

func (c *oneCard) Stop(bool) error             { return nil }
func (c *oneCard) Info() nic.Info              { return nic.Info{} }
func (c *oneCard) Queues() []nic.Queue         { return []nic.Queue{c.Queue} }
func (c *oneCard) Link() (bool, error)         { return true, nil }
func (c *oneCard) Statistics() []nic.Statistic { return []nic.Statistic{{Name: "missed", Value: 7}} }
func (c *oneCard) Close() error                { return nil }

// namedQueue is a queue pair that has a name and counters, and does nothing.
type namedQueue struct {
	nic.Queue
	counters virtionet.Counters
}

func (*namedQueue) Name() string                    { return "nic:0" }
func (q *namedQueue) Counters() *virtionet.Counters { return &q.counters }

// fixedStats is who forwards, as far as statistics go.
type fixedStats struct {
	forwarding
	stats netfwd.Stats
}

func (f *fixedStats) Collect() netfwd.Stats   { return f.stats }
func (f *fixedStats) Run(ctx context.Context) {}

// Statistics as JSON tell of a NIC whether there is one, how often it was restarted, and what it
// has counted itself; of others they do not.
func TestStatisticsTellOfNICs(t *testing.T) {
	slot, _, err := nic.NewSlot(&oneCard{Queue: &namedQueue{}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{
		ports:      []*port{{End: netfwd.End{Queues: []netfwd.Port{&namedQueue{}}}}, {End: netfwd.End{Queues: slot.Ports()}, nic: slot}},
		forwarding: &fixedStats{stats: netfwd.Stats{Ports: []netfwd.PortStats{{Name: "vvu:0"}, {Name: "nic:0"}}}},
	}
	var out bytes.Buffer
	if err := (&reports.Reports{JSON: true}).Last(f.collect(), &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Ports []struct {
			Device *struct {
				Working  bool
				Restarts *int
				Counters map[string]int
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Ports[0].Device != nil {
		t.Errorf("a port that is no NIC has a device: %s", out.Bytes())
	}
	d := got.Ports[1].Device
	if d == nil || !d.Working || d.Restarts == nil || *d.Restarts != 0 || d.Counters["missed"] != 7 {
		t.Errorf("of the NIC it tells %s", out.Bytes())
	}
}

// Who asks in another way than vvuctl may name any level.
func TestUnknownLevel(t *testing.T) {
	if err := (&collector{}).setLevel("loud"); err == nil || err.Error() != `there is no level "loud": want debug, info, warn or error` {
		t.Error(err)
	}
	for _, name := range control.Levels { // all that vvuctl lets pass
		if err := logging.SetLevel(new(zapcore.Level))(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
