package show

import (
	"context"
	"fmt"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/pktgen"
)

// framesVLAN is a VLAN that no one listens to: the network behind the NIC counts the frames and drops them, instead of
// answering a million times that the port is closed.
const framesVLAN = 4094

// pktgen shows that small frames at full speed neither stall nor get lost.
func (d *demo) pktgen(ctx context.Context) (string, error) {
	before, err := d.nicNow(ctx)
	if err != nil {
		return "", err
	}
	told := time.Now()
	g := guest.Generator{Frames: d.Frames, Sizes: pktgen.OfSize(pktgen.MinFrame), VLAN: framesVLAN}
	burst, err := d.apps[0].Pktgen(ctx, stallLimit, g, func(sent int64) {
		if time.Since(told) >= 5*time.Second {
			told = time.Now()
			d.progress.say("pktgen", "%d of %d frames", sent, d.Frames)
		}
	})
	if err != nil {
		return "", err
	}
	after, err := d.nicNow(ctx)
	if err != nil {
		return "", err
	}
	p := Pktgen{Sent: burst.Frames, Seconds: seconds(burst.Took)}
	figure := fmt.Sprintf("%d frames sent in %.1f s, %.0f a second", p.Sent, p.Seconds, perSecond(float64(p.Sent), p.Seconds))
	if !d.Direct {
		p.Passed, p.Dropped = after.TxPackets-before.TxPackets, after.Dropped()-before.Dropped()
		figure += fmt.Sprintf("; the NIC's port sent %d, dropped %d", p.Passed, p.Dropped)
	}
	d.report.Pktgen = &p
	switch {
	case p.Sent != d.Frames:
		return figure, fmt.Errorf("the app VM sent %d of %d frames", p.Sent, d.Frames)
	case !d.Direct && p.Passed < uint64(p.Sent):
		return figure, fmt.Errorf("of %d frames only %d passed", p.Sent, p.Passed)
	}
	return figure, nil
}

// nicNow returns the NIC's counters: zeros without a driver VM.
func (d *demo) nicNow(ctx context.Context) (counters.Port, error) {
	if d.Direct {
		return counters.Port{}, nil
	}
	s, err := d.counters.Now(ctx)
	if err != nil {
		return counters.Port{}, err
	}
	return nicPort(s.Ports)
}

// restarts kills the app VM in the middle of a download and starts it again, time after time, without touching the driver VM.
func (d *demo) restarts(ctx context.Context) (string, error) {
	var longest, sum float64
	for i := 1; i <= d.Restarts; i++ {
		r, err := d.restart(ctx)
		if err != nil {
			return "", fmt.Errorf("restart %d of %d: %w", i, d.Restarts, err)
		}
		d.report.Restarts = append(d.report.Restarts, r)
		longest, sum = max(longest, r.Seconds), sum+r.Seconds
		d.progress.say("restarts", "%d of %d: killed after %s, lease and pings again after %.1f s", i, d.Restarts, size(r.BytesBefore), r.Seconds)
	}
	return fmt.Sprintf("%d of %d; from the kill to lease and pings %.1f s on average, %.1f s at most", d.Restarts, d.Restarts, sum/float64(d.Restarts), longest), nil
}

// restartPings is the number of echo requests after each restart.
const restartPings = 5

func (d *demo) restart(ctx context.Context) (Restart, error) {
	r, err := d.killUnderLoad(ctx)
	if err != nil {
		return r, err
	}
	begin := time.Now()
	a := d.apps[0]
	if _, err := d.boot(ctx, a); err != nil {
		return r, err
	}
	r.Seconds, r.RTT, err = d.returned(ctx, a, begin)
	return r, err
}

// returned has an app VM that was without network take a lease and ping, and returns how long after begin that was done.
func (d *demo) returned(ctx context.Context, a *appVM, begin time.Time) (after float64, rtt string, err error) {
	if a.lease, err = a.Lease(ctx, commandLimit); err != nil {
		return 0, "", err
	}
	pings, err := d.pingsAgain(ctx, a)
	return seconds(time.Since(begin)), pings.RTT, err
}

// pingsAgain has an app VM that was without network ping, and fails unless all is answered.
func (d *demo) pingsAgain(ctx context.Context, a *appVM) (guest.Pings, error) {
	pings, err := a.Ping(ctx, commandLimit, d.network.host, restartPings)
	if err == nil && pings.Received != restartPings {
		err = fmt.Errorf("of %d echo requests %d were answered", restartPings, pings.Received)
	}
	return pings, err
}

// killUnderLoad kills the app VM once enough of a download has reached it for the rings to have wrapped several times.
func (d *demo) killUnderLoad(ctx context.Context) (Restart, error) {
	const enough = 4 << 20
	before := d.delivered()
	if err := d.apps[0].StartFetch(d.web.base + "/endless"); err != nil {
		return Restart{}, err
	}
	limit := time.After(commandLimit)
	for d.delivered()-before < enough {
		select {
		case <-ctx.Done():
			return Restart{}, context.Cause(ctx)
		case <-limit:
			return Restart{}, d.apps[0].process.Explain(fmt.Errorf("the download before the kill moved only %d bytes", d.delivered()-before))
		case <-time.After(10 * time.Millisecond):
		}
	}
	r := Restart{BytesBefore: d.delivered() - before}
	return r, d.kill(ctx, d.apps[0])
}

// delivered is the number of bytes that vvufwd had sent to the app VM when it last printed its statistics. Without a driver VM it
// is what the web server handed to the network, most of which is in the buffers of sockets at first.
func (d *demo) delivered() int64 {
	if d.Direct {
		return d.web.endless.Load()
	}
	vvu, err := vvuPort(d.counters.Last().Ports)
	if err != nil {
		return 0 // nothing printed yet
	}
	return int64(vvu.TxBytes)
}
