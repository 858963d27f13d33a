package show

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/cmd/vvudemo/rates"
)

// Bench is a measurement of how many frames of which size arrive in each direction: the app VM's kernel packet generator is at one
// end, and a generator of the same frames at the TAP device behind the driver VM's NIC at the other.
type Bench struct {
	Sizes []pktgen.Sizes
	// Time is how long frames are sent for each figure.
	Time time.Duration
}

// benchTAP is the TAP device that is made for it.
const benchTAP = "vvupktgen0"

// RunBench does nothing but what cfg.Bench says, over a TAP device. The network namespace must be one in which such devices may be
// made, or cfg names one that exists. The report is never nil.
func RunBench(ctx context.Context, cfg Config) (*rates.Report, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if cfg.TAP == "" {
		cfg.TAP = benchTAP
	}
	d := newDemo(cfg, fail, time.Now())
	err := d.prepare()
	if err == nil {
		steps := append(d.machineSteps(), step{"app VM", d.startApps})
		steps = append(steps, d.benchSteps()...)
		err = d.do(ctx, append(steps, step{"power off", d.powerOff}))
	}
	err = errors.Join(err, d.close())
	r := d.report.Rates
	if r == nil {
		r = &rates.Report{Setup: d.setup()}
	}
	r.OK, r.Seconds = err == nil, seconds(time.Since(d.progress.begin))
	return r, err
}

// setup describes what is measured.
func (d *demo) setup() rates.Setup {
	r := d.report
	s := rates.Setup{
		Name: "vvufwd, " + r.Device, Device: r.Device, DriverQEMU: r.DriverQEMU, DriverKernel: r.DriverKernel, IOMMU: r.IOMMU, NIC: string(d.NIC),
		AppQEMU: r.AppQEMU, Kernel: r.Kernel, Time: d.Bench.Time.Seconds(),
	}
	switch {
	case d.Direct:
		s.Name, s.NIC = "no driver VM", ""
	case d.OtherImage != "":
		s.Name = filepath.Base(d.OtherImage) + ", " + r.Device
	}
	return s
}

// bench is one run. It is owned by one goroutine.
type bench struct {
	*demo
	rates  *rates.Report
	stream int // of the last measurement
	last   counts
}

// benchSteps are a step for each size and load.
func (d *demo) benchSteps() (steps []step) {
	b := &bench{demo: d, rates: &rates.Report{Setup: d.setup()}}
	d.report.Rates = b.rates
	for _, s := range d.Bench.Sizes {
		for _, load := range rates.Loads {
			steps = append(steps, step{fmt.Sprintf("%v %s", s, load), func(ctx context.Context) (string, error) { return b.measure(ctx, s, load) }})
		}
	}
	return steps
}

// counts are what all places on the way have counted so far.
type counts struct {
	app      guest.Device
	vvu, nic counters.Port
	tap      tapCounts
}

func (b *bench) count(ctx context.Context) (c counts, err error) {
	if b.counted() {
		s, err := b.counters.Now(ctx)
		if err != nil {
			return c, err
		}
		if c.vvu, err = vvuPort(s.Ports); err != nil {
			return c, err
		}
		if c.nic, err = nicPort(s.Ports); err != nil {
			return c, err
		}
	}
	if c.app, err = b.apps[0].Device(ctx, commandLimit); err != nil {
		return c, err
	}
	c.tap, err = countTAP(b.TAP)
	return c, err
}

// measure is one row: it sends, waits until all that can arrive has, and reads every counter on the way.
func (b *bench) measure(ctx context.Context, s pktgen.Sizes, load rates.Load) (string, error) {
	if b.stream == 0 { // afterwards nothing happens between two rows
		var err error
		if b.last, err = b.count(ctx); err != nil {
			return "", err
		}
	}
	b.stream++
	t, err := b.begin(ctx, s, load)
	if err != nil {
		return "", err
	}
	defer t.close()
	if err := t.send(ctx); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	before := b.last
	if b.last, err = b.count(ctx); err != nil {
		return "", err
	}
	row, err := t.row(ctx, before, b.last)
	if err != nil {
		return "", err
	}
	b.rates.Rows = append(b.rates.Rows, row)
	figure := ""
	for _, w := range []struct {
		name string
		way  *rates.Way
	}{{"out", row.Out}, {"in", row.In}} {
		if w.way == nil {
			continue
		}
		if figure != "" {
			figure += "; "
		}
		figure += fmt.Sprintf("%s: %d offered (%.0f/s), %.0f/s arrived, %d lost", w.name, w.way.Offered, w.way.OfferedRate, w.way.ArrivedRate, w.way.Lost)
		if w.way.Arrived == 0 {
			return figure, fmt.Errorf("of %d frames %s none arrived", w.way.Offered, w.name)
		}
	}
	return figure, nil
}

// drops are the reasons that a port counted meanwhile.
func drops(then, now counters.Port) map[string]uint64 {
	d := now.Since(then).Drops
	for _, why := range slices.Collect(maps.Keys(d)) {
		if d[why] == 0 {
			delete(d, why)
		}
	}
	return d
}
