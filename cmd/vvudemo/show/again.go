package show

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/vvudemo/matrix"
)

// AppSetup is how an app VM's network device is set up.
type AppSetup struct {
	// Queues is the number of its queue pairs, and of the app VM's processors. 0 means one.
	Queues int `json:"queues,omitempty"`
	// Alone is a device that leaves neither checksums nor segmentation to anyone.
	Alone bool `json:"alone,omitempty"`
}

// apply sets an app VM up so, from its next start on.
func (s AppSetup) apply(a *appVM, netOpts string) {
	a.setup.queues, a.setup.smp, a.setup.netOpts = s.Queues, max(1, s.Queues), netOpts
	if s.Alone {
		a.setup.netOpts = matrix.Combination{Mergeable: true}.DeviceOptions() + "," + netOpts
	}
}

// Again is what became of an app VM that was started again with its network device set up in another way.
type Again struct {
	AppSetup
	Download, Upload *Transfer
	// VVU and NIC are the counters of both sides from its start on.
	VVU counters.Port
	NIC counters.Port
}

// again kills the app VM and starts it with each of the other set-ups, without touching the driver VM.
func (d *demo) again(ctx context.Context) (figure string, err error) {
	a := d.apps[0]
	for _, s := range d.Again {
		if err := d.kill(ctx, a); err != nil {
			return figure, err
		}
		before, err := d.counters.Now(ctx)
		if err != nil {
			return figure, err
		}
		s.apply(a, d.AppNetOpts)
		if _, err := d.boot(ctx, a); err != nil {
			return figure, err
		}
		if a.lease, err = a.Lease(ctx, commandLimit); err != nil {
			return figure, err
		}
		r := Again{AppSetup: s}
		if r.Download, _, err = d.downloadTo(ctx, a); err != nil {
			return figure, err
		}
		if r.Upload, _, err = d.uploadFrom(ctx, a); err != nil {
			return figure, err
		}
		if s.Queues > 1 {
			if _, err := d.flowsOf(ctx, a); err != nil {
				return figure, err
			}
		}
		after, err := d.counters.Now(ctx)
		if err != nil {
			return figure, err
		}
		for p, find := range map[*counters.Port]func([]counters.Port) (counters.Port, error){&r.VVU: vvuPort, &r.NIC: nicPort} {
			then, err := find(before.Ports)
			if err != nil {
				return figure, err
			}
			now, err := find(after.Ports)
			if err != nil {
				return figure, err
			}
			*p = now.Since(then)
		}
		d.report.Again = append(d.report.Again, r)
		figure += fmt.Sprintf("; with %d queues, offloads %v: %.0f Mbit/s to the app VM, %.0f from it", max(1, s.Queues), !s.Alone,
			r.Download.MbitPerSecond(), r.Upload.MbitPerSecond())
	}
	return fmt.Sprintf("app VM killed and started again %d times%s", len(d.Again), figure), nil
}

// Flows of the app VM, each a file of this size that it serves.
const (
	flowsAtOnce = 8
	flowBytes   = 1 << 20
	flowRounds  = 8
	flowFrames  = 10 // that each queue pair of the NIC is to see each way
)

// flows shows several flows at once, over several queue pairs of the app VM and of the NIC.
func (d *demo) flows(ctx context.Context) (string, error) { return d.flowsOf(ctx, d.apps[0]) }

// flowsOf fetches a file from an app VM, over several connections at once, until as many of the NIC's queue pairs as the app VM has have
// carried frames both ways: the NIC chooses one by a connection's ports.
func (d *demo) flowsOf(ctx context.Context, a *appVM) (string, error) {
	made, err := a.Blob(ctx, commandLimit, flowBytes)
	if err != nil {
		return "", err
	}
	before, err := d.counters.Now(ctx)
	if err != nil {
		return "", err
	}
	var busy []string
	for range flowRounds {
		results := make(chan error, flowsAtOnce)
		limited, cancel := context.WithTimeoutCause(ctx, d.transferLimit(), errors.New("the app VM's HTTP server is too slow"))
		for range flowsAtOnce {
			go func() {
				bytes, sum, err := fetch(limited, d.network.appURL(a, "blob"), flowBytes)
				if err == nil && (bytes != flowBytes || sum != made.SHA256) {
					err = fmt.Errorf("of %d bytes %d arrived, or they differ", flowBytes, bytes)
				}
				results <- err
			}()
		}
		var errs []error
		for range flowsAtOnce {
			errs = append(errs, <-results)
		}
		cancel()
		if err := errors.Join(errs...); err != nil {
			return "", err
		}
		after, err := d.counters.Now(ctx)
		if err != nil {
			return "", err
		}
		busy = busyQueues(before.Ports, after.Ports)
		if len(busy) >= a.setup.queues {
			return fmt.Sprintf("%d at once; the NIC's queue pairs received and sent %s frames", flowsAtOnce, strings.Join(busy, ", ")), nil
		}
	}
	return "", fmt.Errorf("%d rounds of %d flows went through %q of the NIC's queue pairs (received and sent), want %d", flowRounds, flowsAtOnce,
		busy, a.setup.queues)
}

// busyQueues are the NIC's queue pairs that carried frames both ways meanwhile, as texts.
func busyQueues(before, after []counters.Port) (busy []string) {
	then := make(map[string]counters.Port)
	for _, p := range before {
		then[p.Name] = p
	}
	for _, p := range after {
		if isVVU(p) {
			continue
		}
		if n := p.Since(then[p.Name]); n.RxPackets >= flowFrames && n.TxPackets >= flowFrames {
			busy = append(busy, fmt.Sprintf("%d/%d", n.RxPackets, n.TxPackets))
		}
	}
	return busy
}
