package show

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/matrix"
)

// rowQueues sends from every processor of the app VM, whose kernel has a queue for each, and wants frames at all of vvufwd's.
func (d *demo) rowQueues(ctx context.Context, row *MatrixRow) error {
	before, err := d.pairsNow(ctx)
	if err != nil {
		return err
	}
	spread, err := d.apps[0].Spread(ctx, commandLimit, d.network.host, spreadPings)
	if err != nil {
		return err
	}
	if want := int64(row.Queues() * spreadPings); spread.Sent != want || spread.Received != want {
		return fmt.Errorf("of %d echo requests from %d processors %d were answered", spread.Sent, spread.Processors, spread.Received)
	}
	after, err := d.pairsNow(ctx)
	if err != nil {
		return err
	}
	var errs []error
	var answers uint64
	for i := range row.Queues() {
		name := pairName(i)
		from, to := after[name].RxPackets-before[name].RxPackets, after[name].TxPackets-before[name].TxPackets
		row.FromQueues, row.ToQueues = append(row.FromQueues, from), append(row.ToQueues, to)
		answers += to
		if from < spreadPings {
			errs = append(errs, fmt.Errorf("of %d pings from each processor %d came by queue pair %s", spreadPings, from, name))
		}
	}
	if answers < uint64(spread.Sent) {
		errs = append(errs, fmt.Errorf("of %d answers to pings %d left by the app VM's queue pairs", spread.Sent, answers))
	}
	return errors.Join(errs...)
}

// pairName is what vvufwd calls a queue pair of the app VM.
func pairName(i int) string {
	name := "vvu:" + machine.VVUAddress(0)
	if i > 0 {
		name += fmt.Sprintf("/q%d", i)
	}
	return name
}

// pairsNow are the counters of all queue pairs by their names. One that carried nothing yet may be missing.
func (d *demo) pairsNow(ctx context.Context) (map[string]counters.Port, error) {
	s, err := d.counters.Now(ctx)
	if err != nil {
		return nil, err
	}
	pairs := make(map[string]counters.Port)
	for _, p := range s.Ports {
		pairs[p.Name] = p
	}
	return pairs, nil
}

// rowChannels changes the number of queue pairs while pings go on.
func (d *demo) rowChannels(ctx context.Context, row *MatrixRow) error {
	if !row.Many {
		return nil
	}
	a := d.apps[0]
	if err := a.BeginPing(ctx, commandLimit, d.network.host, livePings); err != nil {
		return err
	}
	var errs []error
	for _, pairs := range []int{2, 1, matrix.ManyQueues} {
		if err := d.pause(ctx, changeEvery); err != nil {
			return err
		}
		set, err := a.SetChannels(ctx, commandLimit, pairs)
		if err == nil && set.Current != int64(pairs) {
			err = fmt.Errorf("the guest uses %d queue pairs, want %d", set.Current, pairs)
		}
		errs = append(errs, err)
	}
	pings, err := a.EndPing(ctx, commandLimit)
	if err == nil && (pings.Sent != livePings || pings.Received < livePings-lostPings) {
		err = fmt.Errorf("while the number of queue pairs changed, of %d echo requests %d were answered", pings.Sent, pings.Received)
	}
	return errors.Join(append(errs, err)...)
}

// changeEvery is the time between changes: the pings go on for longer than three of them.
const changeEvery = time.Second

// lostPings is how many pings may be on a queue that is no longer used when their answers come: one for each change.
const lostPings = 3
