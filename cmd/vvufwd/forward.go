package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/capture"
	"vvufwd/cmd/vvufwd/keeper"
	"vvufwd/netfwd"
	"vvufwd/vfio"
	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

// forwarder is everything that forward has opened, in the order in which it is
// taken down again.
type forwarder struct {
	log        *zap.Logger
	bare       *vfio.Bare // empty once the container has it
	container  *vfio.Container
	ports      []*port
	recorders  []*capture.Recorder
	forwarding forwarding
	keeper     *keeper.Keeper
	bindings   []pci.Binding // to undo here
	givesBack  bool          // the keeper undoes others
}

// forwarding is what moves frames among ports: a netfwd.Balancer or a netfwd.Switch.
type forwarding interface {
	Loops() []*netfwd.Loop
	WakeLoops()
	StateChanged()
	Run(ctx context.Context)
	Collect() netfwd.Stats
	Close() error
}

// forward opens all ports, forwards among them until ctx is done, and
// takes everything down. Totals, and rates on the way, go to out.
func forward(ctx context.Context, o *options, log *zap.Logger, out io.Writer) (err error) {
	f := &forwarder{log: log, bare: o.bare, keeper: o.keeper, givesBack: o.bind}
	defer func() { err = errors.Join(err, f.close()) }()
	if o.privileged { // else that was done before
		if f.bare != nil {
			f.bindings = f.bare.Bindings
		}
		bindings, err := o.bindFunctions(func() bool { return ctx.Err() != nil })
		f.bindings = append(f.bindings, bindings...)
		if errors.Is(err, confine.ErrStopped) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := f.open(ctx, o); err != nil && ctx.Err() != nil {
		log.Info("told to stop while ports were opened", zap.Error(err))
		return nil
	} else if err != nil {
		return err
	}
	return f.run(ctx, o, out)
}

// bindFunctions gives the functions to vfio-pci, if that is asked for. What it returns is to be undone, even after an
// error, which is confine.ErrStopped once stopped says so: a driver can take long to let go of one.
func (o *options) bindFunctions(stopped func() bool) (bindings []pci.Binding, err error) {
	if !o.bind {
		return nil, nil
	}
	for _, function := range o.functions() {
		if stopped() {
			return bindings, confine.ErrStopped
		}
		before, err := pci.Sysfs{}.Bind(function, "vfio-pci")
		if err != nil {
			return bindings, err
		}
		bindings = append(bindings, before)
	}
	return bindings, nil
}

// open opens the ports and joins them in pairs, or in a switch.
func (f *forwarder) open(ctx context.Context, o *options) error {
	defer o.closeDevMem()
	o.sayMemory(f.log)
	if slices.ContainsFunc(o.ports, portSpec.onPCI) {
		if err := f.openContainer(o); err != nil {
			return err
		}
	}
	if err := f.startKeeper(ctx, o); err != nil {
		return err
	}
	for _, spec := range o.ports {
		p, err := openPort(ctx, spec, f.container, o, f.log)
		if err != nil {
			return err
		}
		f.ports = append(f.ports, p)
	}
	f.openRecorders(o)
	join := f.openPairs
	if o.switched {
		join = f.openSwitch
	}
	if err := join(o); err != nil {
		return err
	}
	for _, p := range f.ports {
		p.follow(f.forwarding)
	}
	f.giveKeeper()
	if o.owned {
		f.awaitLinks(ctx)
	}
	if o.followLink {
		f.followLinks(o)
	}
	return nil
}

// openPairs joins the ports in pairs, in order, and assigns their queue pairs to
// loops. Each loop has a thread, and a CPU of its own if it is told one.
func (f *forwarder) openPairs(o *options) error {
	var links []netfwd.Link
	lanes := 0 // at most
	for i := 0; i+1 < len(f.ports); i += 2 {
		a, b := f.ports[i], f.ports[i+1]
		links = append(links, netfwd.Link{a.End, b.End})
		lanes += min(len(a.Queues), len(b.Queues))
		f.log.Info("forwarding", zap.String("a", a.Name()), zap.String("b", b.Name()))
	}
	var loops []netfwd.Config
	for _, cpu := range o.loopCPUs(lanes) {
		loops = append(loops, f.loopConfig(o, cpu))
	}
	if len(loops) > lanes {
		f.log.Warn("more CPUs than are of use: one queue pair of each port is the work of one CPU", zap.Int("cpus", len(loops)), zap.Int("of use", lanes))
	}
	balancer, err := netfwd.NewBalancer(links, loops, f.warn)
	if err != nil {
		return err
	}
	f.forwarding = balancer
	return nil
}

func (f *forwarder) loopConfig(o *options, cpu int) netfwd.Config {
	return netfwd.Config{CPU: cpu, IdleAfter: o.idleAfter, OnFault: f.onFault}
}

func (f *forwarder) warn(err error) {
	f.log.Warn("frames may arrive at a queue pair that no loop polls first", zap.Error(err))
}

// onFault is called by a loop, which has no time for logs: a goroutine of its own writes
// the line.
func (f *forwarder) onFault(failed []netfwd.Port, err error) {
	go f.logFault(failed, err)
}

func (f *forwarder) logFault(failed []netfwd.Port, err error) {
	names := make([]string, len(failed))
	for i, p := range failed {
		names[i] = p.Name()
	}
	f.log.Error("a fault stopped ports until their guests reset their devices", zap.Strings("ports", names), zap.Error(err))
}

// functions are those of the command line that are on PCI.
func (o *options) functions() (list []pci.Address) {
	for _, p := range o.ports {
		if p.onPCI() {
			list = append(list, p.addr)
		}
	}
	return list
}

// startKeeper starts the process that gets devices back, while it can be started. It is nil
// without devices, or if it does not start; then it is an error if it was to hold some, or to give some back.
func startKeeper(o *options, shared vfio.Shared, log *zap.Logger) (*keeper.Keeper, error) {
	cfg := keeper.Config{Functions: o.functions(), Shared: shared, Held: o.held, Bind: o.bind, Confine: !o.privileged}
	if len(cfg.Functions) == 0 {
		return nil, nil
	}
	if !o.privileged {
		if o.bare != nil { // these came first
			cfg.Bindings = slices.Clone(o.bare.Bindings)
		}
		cfg.Bindings = append(cfg.Bindings, o.bindings...)
	}
	lockMemory()
	k, err := keeper.Start(cfg)
	needed := len(o.held.Devices) > 0 || slices.ContainsFunc(cfg.Bindings, func(b pci.Binding) bool { return b.Changed })
	if err != nil && !needed {
		log.Warn("a device that is removed will not be used again when it returns", zap.Error(err))
		return nil, nil
	}
	return k, err
}

// startKeeper starts the keeper, if it was not started before privileges were given up. No
// device does DMA yet.
func (f *forwarder) startKeeper(ctx context.Context, o *options) (err error) {
	if f.keeper == nil && f.container != nil && o.privileged {
		f.keeper, err = startKeeper(o, f.container.Shared(), f.log)
	}
	if ctx.Err() != nil {
		return nil // what asked us to stop asked the keeper too, before it ignored that
	}
	return err
}

// giveKeeper tells ports who gets their devices back.
func (f *forwarder) giveKeeper() {
	for _, p := range f.ports {
		if p.pci != nil {
			p.pci.keeper = f.keeper
		}
	}
}

// wasAway reports whether a function has been taken away: what it was bound to before is
// of no interest any more then.
func (f *forwarder) wasAway(function pci.Address) bool {
	for _, p := range f.ports {
		if p.pci != nil && p.pci.spec.addr == function {
			return p.pci.away
		}
	}
	return false
}

// openContainer makes ready for functions on PCI.
func (f *forwarder) openContainer(o *options) (err error) {
	f.container, err = vfio.OpenContainer(vfio.Config{Nodes: o.nodes, Bare: o.bare, Memory: dma.ArenaConfig{
		RequireHugePages: o.requireHugePages,
		Warn:             func(err error) { f.log.Warn("DMA memory", zap.Error(err)) },
	}})
	return err
}

// run forwards until ctx is done or a loop cannot start. Sessions end before the
// loops do, because they wait for the loops to release their rings.
func (f *forwarder) run(ctx context.Context, o *options, out io.Writer) error {
	// A loop occupies a P as long as it polls; control needs one besides.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), len(f.forwarding.Loops())+1))
	debug.SetGCPercent(20) // the heap is tiny and hardly grows: keep it so

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make(chan error, len(f.forwarding.Loops())+len(f.ports)+places)
	failed := func(err error) {
		if err != nil {
			failures <- err
			cancel()
		}
	}
	loopCtx, stopLoops := context.WithCancel(context.Background())
	defer stopLoops()

	var loops, control sync.WaitGroup
	for _, l := range f.forwarding.Loops() {
		loops.Go(func() { failed(l.Run(loopCtx)) })
	}
	control.Go(func() { f.forwarding.Run(ctx) })
	f.runControls(ctx, o, &control, failed)
	f.record(ctx, o, &control)
	f.answerClients(ctx, o, &control, failed)
	err := o.reports.Run(ctx, f.collect, out)
	cancel()
	control.Wait()
	stopLoops()
	loops.Wait()
	close(failures)
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	return errors.Join(err, o.reports.Last(f.collect(), out))
}

// collect collects the statistics of all ports and loops, and of the NICs behind them.
func (f *forwarder) collect() netfwd.Stats {
	s := f.forwarding.Collect()
	for _, p := range f.ports {
		i := slices.IndexFunc(s.Ports, func(of netfwd.PortStats) bool { return of.Name == p.Name() })
		switch {
		case i < 0:
		case p.nic != nil:
			s.Ports[i].Device = p.nic.State()
		case p.netdev != nil:
			s.Ports[i].Device = p.netdev.Stats()
		}
	}
	return s
}

// close takes everything down: devices are reset before their memory goes.
func (f *forwarder) close() error {
	var errs []error
	if f.forwarding != nil {
		errs = append(errs, f.forwarding.Close())
	}
	for i := len(f.ports) - 1; i >= 0; i-- {
		errs = append(errs, f.ports[i].close())
	}
	if f.container != nil {
		errs = append(errs, f.container.Close())
	}
	errs = append(errs, f.bare.Close())
	if f.givesBack {
		f.keeper.GiveBack()
	}
	errs = append(errs, f.keeper.Close()) // which lets go of what it holds
	for i := len(f.bindings) - 1; i >= 0; i-- {
		if b := f.bindings[i]; !f.wasAway(b.Function) {
			errs = append(errs, pci.Sysfs{}.Undo(b))
		}
	}
	return errors.Join(errs...)
}
