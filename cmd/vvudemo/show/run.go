package show

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// ErrFailed is wrapped by the error for a step that did not show what it should.
var ErrFailed = errors.New("the demo failed")

// demo is one run. It is owned by one goroutine, the console readers aside.
type demo struct {
	Config
	progress *progress
	report   *Report
	counters *counters.Follower
	// fail ends the run when a machine dies that should not.
	fail context.CancelCauseFunc
	// ending is closed when the machines are told to end.
	ending chan struct{}

	claimed *os.File // the output directory
	run     string   // directory of the sockets: short, because a socket's path may have 107 bytes at most
	network *network
	web     *web

	driver     *vm.Process
	sacrificed atomic.Pointer[vm.Process] // a driver VM that is killed
	apps       []*appVM
}

// step is one thing to show. do returns the figure that it shows.
type step struct {
	name string
	do   func(ctx context.Context) (figure string, err error)
}

// Run shows everything that cfg asks for. The report is never nil: with an error, it tells how far it came.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d := newDemo(cfg, fail, time.Now())
	err := d.prepare()
	if err == nil {
		err = d.do(ctx, d.steps())
	}
	err = errors.Join(err, d.close())
	d.report.OK = err == nil
	d.report.Seconds = seconds(time.Since(d.progress.begin))
	return d.report, err
}

// newDemo is a run that has not prepared anything yet. Times count from begin.
func newDemo(cfg Config, fail context.CancelCauseFunc, begin time.Time) *demo {
	return &demo{
		Config: cfg, fail: fail, ending: make(chan struct{}), counters: counters.NewFollower(), report: newReport(cfg),
		progress: &progress{w: cfg.Progress, begin: begin},
	}
}

func newReport(cfg Config) *Report {
	r := &Report{AppQEMU: describe(cfg.Tools.AppQEMU), Kernel: cfg.Tools.Modules.Release, Device: "none"}
	if !cfg.Direct {
		r.DriverQEMU, r.DriverKernel, r.IOMMU = describe(cfg.Tools.QEMU), cfg.driverModules().Release, cfg.IOMMU.String()
		r.Device = "vvudev"
		switch {
		case cfg.Device == machine.BuiltIn:
			r.Device = "built into QEMU"
		case cfg.Shadow:
			r.Device = "vvudev with a shadow region"
		}
	}
	return r
}

func describe(q machine.QEMU) string { return fmt.Sprintf("%v (%s)", q.Version, q.Origin) }

// prepare makes what every step needs.
func (d *demo) prepare() error {
	var err error
	if d.claimed, err = claim(d.OutDir); err != nil {
		return err
	}
	if err := d.prepareApps(); err != nil {
		return err
	}
	if d.network, err = openNetwork(d.TAP, d.nicQueues(), d.MTU, len(d.apps)); err != nil {
		return err
	}
	d.web, err = startWeb(d.network.listen, d.network.host, d.transferBytes())
	return err
}

// prepareApps makes the directory of the sockets and what belongs to each app VM.
func (d *demo) prepareApps() (err error) {
	if d.run, err = vm.SocketDir("vvudemo"); err != nil {
		return err
	}
	for i := range max(1, d.AppVMs) {
		a, err := d.newAppVM(i)
		if err != nil {
			return err
		}
		d.apps = append(d.apps, a)
	}
	return nil
}

// steps are what is shown, in order.
func (d *demo) steps() []step {
	steps := d.machineSteps()
	if len(d.apps) > 1 {
		return append(steps, d.switchSteps()...)
	}
	steps = append(steps, step{"app VM", d.startApps}, step{"offloads", d.offloads}, step{"lease", d.getLease}, step{"ping", d.ping}, step{"download", d.download}, step{"upload", d.upload})
	if d.App.Queues > 1 && !d.Direct {
		steps = append(steps, step{"flows", d.flows})
	}
	if d.Shadow {
		steps = append(steps, step{"shadow", d.shadow})
	}
	if d.Frames > 0 {
		steps = append(steps, step{"pktgen", d.pktgen})
	}
	if d.Bench != nil {
		steps = append(steps, d.benchSteps()...)
	}
	if d.Idle > 0 {
		steps = append(steps, step{"idle", d.idle})
	}
	if d.Restarts > 0 {
		steps = append(steps, step{"restarts", d.restarts})
	}
	if d.Rebinds > 0 {
		steps = append(steps, step{"rebinds", d.rebinds})
	}
	if !d.Direct {
		steps = append(steps, step{"counters", d.count})
		if len(d.Again) > 0 {
			steps = append(steps, step{"again", d.again})
		}
		if d.Shadow && d.Restarts > 0 && !d.Capture { // the driver VM's capture would begin anew
			steps = append(steps, step{"driver VM restarts", d.restartDriver})
		}
	}
	return append(steps, d.lastSteps(true)...)
}

// machineSteps start what the app VM needs.
func (d *demo) machineSteps() []step {
	steps := []step{{"images", d.images}}
	if !d.Direct {
		if d.Device == machine.VfioUserServer {
			steps = append(steps, step{"vvudev", d.startDevices})
		}
		steps = append(steps, step{"driver VM", d.startDriver})
	}
	return steps
}

// lastSteps end a run.
func (d *demo) lastSteps(captured bool) []step {
	var steps []step
	if d.Keep != nil {
		steps = append(steps, step{"keep", d.keep})
	}
	if d.Capture && captured {
		steps = append(steps, step{"driver VM, asked", d.askDriver})
	}
	steps = append(steps, step{"power off", d.powerOff})
	if captured {
		steps = append(steps, step{"capture", d.capture})
	}
	if d.Capture {
		steps = append(steps, step{"driver VM's capture", d.driverCapture})
	}
	return steps
}

// do does steps in order until one fails.
func (d *demo) do(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := d.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) step(ctx context.Context, s step) error {
	begin := time.Now()
	figure, err := s.do(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // why it was stopped says more than how the step took it
	}
	result := Step{Name: s.name, OK: err == nil, Figure: figure, Seconds: seconds(time.Since(begin))}
	if err != nil {
		result.Error = err.Error()
		d.progress.say(s.name, "FAILED: %v", err)
		err = fmt.Errorf("%w: %s: %w", ErrFailed, s.name, err)
	} else {
		d.progress.say(s.name, "%s", figure)
	}
	d.report.Steps = append(d.report.Steps, result)
	return err
}

// close removes everything that the run made, except for the output directory. Machines that still run are killed.
func (d *demo) close() error {
	var errs []error
	closeAll := func(p *vm.Process) {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	for _, a := range d.apps { // front-ends first, devices last
		closeAll(a.process)
	}
	closeAll(d.driver)
	for _, a := range d.apps {
		closeAll(a.device)
	}
	if d.web != nil {
		errs = append(errs, d.web.Close())
	}
	if d.network != nil {
		errs = append(errs, d.network.Close())
	}
	for _, a := range d.apps {
		if a.ram != nil {
			errs = append(errs, a.ram.Close())
		}
	}
	if d.run != "" {
		errs = append(errs, os.RemoveAll(d.run))
	}
	if d.claimed != nil {
		errs = append(errs, d.claimed.Close())
	}
	return errors.Join(errs...)
}

// out is the path of a file in the output directory.
func (d *demo) out(name string) string { return filepath.Join(d.OutDir, name) }
