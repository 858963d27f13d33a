package show

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/cmd/vvudemo/rates"
)

// trial is one measurement under way. It is owned by one goroutine.
type trial struct {
	*bench
	sizes pktgen.Sizes
	load  rates.Load

	outRate, inRate float64 // 0: as fast as possible

	sink      *pktgen.Sink // at the TAP device; nil if nothing goes out
	stopSink  context.CancelFunc
	sinkEnded chan arrived

	sender *pktgen.Sender // there, too; nil if nothing comes in
	burst  guest.Burst    // the app VM's
	sent   pktgen.Sent
}

// arrived is what a sink leaves.
type arrived struct {
	pktgen.Arrival
	err error
}

// lightLeast is the least rate of a trial for delays: fewer frames say nothing of a p99.
const lightLeast = 200

// begin opens both ends.
func (b *bench) begin(ctx context.Context, s pktgen.Sizes, load rates.Load) (_ *trial, err error) {
	t := &trial{bench: b, sizes: s, load: load}
	if load == rates.Light {
		both := b.rates.Row(s.String(), rates.Both)
		t.outRate = max(lightLeast, both.Out.ArrivedRate*rates.LightShare)
		t.inRate = max(lightLeast, both.In.ArrivedRate*rates.LightShare)
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if load != rates.In {
		if t.sink, err = pktgen.Listen(b.TAP, b.stream); err != nil {
			return nil, err
		}
		listening, stop := context.WithCancel(ctx)
		t.stopSink, t.sinkEnded = stop, make(chan arrived, 1)
		go func() {
			a, err := t.sink.Run(listening)
			t.sinkEnded <- arrived{a, err}
		}()
	}
	if load != rates.Out {
		if err = b.apps[0].Listen(ctx, commandLimit, b.stream); err != nil {
			return nil, err
		}
		t.sender, err = pktgen.NewSender(b.TAP, pktgen.Plan{Stream: b.stream, Sizes: s, Rate: t.inRate})
	}
	return t, err
}

// send sends for as long as planned. With both directions, the app VM decides when it is over.
func (t *trial) send(ctx context.Context) error {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	if t.sender != nil {
		go func() {
			var err error
			t.sent, err = t.sender.Run(sending)
			ended <- err
		}()
	}
	var err error
	if t.sink != nil {
		t.burst, err = t.apps[0].Pktgen(ctx, stallLimit, guest.Generator{Sizes: t.sizes, Stream: t.stream, Time: t.Bench.Time, Rate: int64(t.outRate)}, func(int64) {})
	} else {
		select {
		case <-time.After(t.Bench.Time):
		case <-ctx.Done():
			err = context.Cause(ctx)
		case early := <-ended: // it does not end by itself
			return fmt.Errorf("generator at %s: %w", t.TAP, early)
		}
	}
	stop()
	if t.sender != nil {
		err = errors.Join(err, <-ended)
	}
	return err
}

// quiet is how long nothing more must arrive before what is missing is taken for lost, on a machine with other work.
const quiet = time.Second

// settle waits until all has arrived, or nothing has for a while.
func (t *trial) settle(ctx context.Context) error {
	last, since := uint64(0), time.Now()
	first := t.last.app.RxPackets
	for {
		var out, in uint64
		if t.sink != nil {
			out = t.sink.Arrived()
		}
		if t.sender != nil {
			d, err := t.apps[0].Device(ctx, commandLimit)
			if err != nil {
				return err
			}
			in = d.RxPackets - first
		}
		switch {
		case out >= uint64(t.burst.Frames) && in >= t.sent.Frames:
			return nil
		case out+in != last:
			last, since = out+in, time.Now()
		case time.Since(since) > quiet:
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// row ends both receivers and says what became of the frames.
func (t *trial) row(ctx context.Context, before, after counts) (rates.Row, error) {
	row := rates.Row{Sizes: t.sizes.String(), Bytes: t.sizes.Mean(), Load: t.load}
	if t.sink != nil {
		t.stopSink()
		a := <-t.sinkEnded
		t.sinkEnded = nil
		if a.err != nil {
			return row, fmt.Errorf("receiver at %s: %w", t.TAP, a.err)
		}
		row.Out = t.out(a.Arrival, before, after)
	}
	if t.sender != nil {
		a, err := t.apps[0].Heard(ctx, commandLimit)
		if err != nil {
			return row, err
		}
		row.In = t.in(a, before, after)
	}
	if row.Out != nil && row.In != nil {
		row.RoundTrip = row.Out.Delay.Least + row.In.Delay.Least
	}
	return row, nil
}

// out is what became of the frames from the app VM.
func (t *trial) out(a pktgen.Arrival, before, after counts) *rates.Way {
	w := way(uint64(t.burst.Frames), t.burst.Took.Seconds(), a)
	w.Refused = uint64(t.burst.Errors)
	stages := []rates.Stage{{Name: "app VM's packet generator", Frames: w.Offered, Drops: one("device", after.app.TxDropped-before.app.TxDropped)}}
	if t.counted() {
		stages = append(stages,
			rates.Stage{Name: "vvufwd, from the app VM", Frames: after.vvu.RxPackets - before.vvu.RxPackets},
			rates.Stage{Name: "vvufwd, to the NIC", Frames: after.nic.TxPackets - before.nic.TxPackets, Drops: drops(before.nic, after.nic)})
	}
	w.Stages = append(stages,
		rates.Stage{Name: "TAP device", Frames: after.tap.rx - before.tap.rx, Drops: one("interface", after.tap.rxDropped-before.tap.rxDropped)},
		rates.Stage{Name: "receiver", Frames: a.Frames, Drops: one("socket", a.KernelDropped)})
	w.Fill()
	return w
}

// in is what became of the frames for the app VM. They have arrived when its network device has counted them; of those, its receiver
// sees what its processor has time for.
func (t *trial) in(a pktgen.Arrival, before, after counts) *rates.Way {
	w := way(t.sent.Frames, t.sent.Seconds, a)
	w.Refused, w.Judged = t.sent.Refused, a.Frames
	stages := []rates.Stage{{Name: "generator at the TAP device", Frames: w.Offered}, {Name: "TAP device", Frames: after.tap.tx - before.tap.tx}}
	if t.counted() {
		stages = append(stages,
			rates.Stage{Name: "vvufwd, from the NIC", Frames: after.nic.RxPackets - before.nic.RxPackets},
			rates.Stage{Name: "vvufwd, to the app VM", Frames: after.vvu.TxPackets - before.vvu.TxPackets, Drops: drops(before.vvu, after.vvu)})
	}
	received := min(after.app.RxPackets-before.app.RxPackets, w.Offered)
	if received > w.Arrived {
		w.ArrivedRate *= float64(received) / float64(max(1, w.Arrived))
		w.Arrived, w.Lost = received, w.Offered-received
	}
	w.Stages = append(stages,
		rates.Stage{Name: "app VM's network device", Frames: received, Drops: one("device", after.app.RxDropped-before.app.RxDropped)},
		rates.Stage{Name: "app VM's receiver", Frames: a.Frames, Drops: one("socket", a.KernelDropped)})
	w.Fill()
	return w
}

// way is what generator and receiver know.
func way(offered uint64, seconds float64, a pktgen.Arrival) *rates.Way {
	return &rates.Way{
		Offered: offered, OfferedRate: perSecond(float64(offered), seconds), Arrived: a.Frames, ArrivedRate: a.Rate(), Judged: a.Frames,
		Lost: offered - min(offered, a.Frames), Reordered: a.Reordered, Duplicated: a.Duplicated, Delay: a.Delay,
	}
}

// one is a single reason, or none.
func one(why string, n uint64) map[string]uint64 {
	if n == 0 {
		return nil
	}
	return map[string]uint64{why: n}
}

// close gives both ends up.
func (t *trial) close() {
	if t.sink != nil {
		t.stopSink()
		if t.sinkEnded != nil {
			<-t.sinkEnded
		}
		t.sink.Close()
	}
	if t.sender != nil {
		t.sender.Close()
	}
}
