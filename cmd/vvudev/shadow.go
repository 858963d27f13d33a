package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/logging"
	"vvufwd/netfwd"
	"vvufwd/vvu/device"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vfiouser"
)

// shadowed is a device with its shadow region, and the app VM's socket.
type shadowed struct {
	memory   *shadow.Memory
	ram      *device.RAMFile // the region, as the device knows it
	device   *device.Device
	inside   *device.Inside
	server   *vfiouser.Server
	shadow   *shadow.Shadow
	endpoint *socket.Endpoint
	monitor  *net.UnixListener
}

// newShadowed makes a device. It takes the front-end's socket over.
func newShadowed(o options, d shadowDevice, files sockets, limits socket.Limits, log *zap.Logger) (s *shadowed, err error) {
	s = &shadowed{monitor: files.monitor}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	log = logging.ForPeer(log)
	if len(o.devices) > 1 {
		log = log.With(zap.String("device", d.vfioUser))
	}
	appLog, log := log.With(zap.String("side", "app VM")), log.With(zap.String("side", "driver VM"))
	if s.memory, err = shadow.NewMemory(uint64(o.size)); err != nil {
		return s, err
	}
	file, err := s.memory.Dup()
	if err != nil {
		return s, err
	}
	if s.ram, err = device.AdoptRAM("shadow region", file); err != nil {
		return s, errors.Join(err, file.Close())
	}
	s.device, err = device.New(device.Config{RAM: s.ram, Queues: 2 * o.pairs(), UUID: d.uuid, Log: log, OnLink: s.followLink})
	if err != nil {
		return s, err
	}
	s.server = vfiouser.NewServer(s.device, log)
	s.server.LimitMemory(limits.Memory)
	s.inside = s.device.Inside()
	s.shadow, err = shadow.New(shadow.Config{Name: "shadow:" + d.vfioUser, Memory: s.memory, Pairs: o.pairs(), Packed: o.packed, Connect: s.inside.Connect, Log: log})
	if err != nil {
		return s, err
	}
	s.endpoint = socket.Listen(files.frontend, o.pairs(), appLog)
	s.endpoint.Limit(limits)
	if d.mac != nil {
		if err := s.endpoint.SetAddress([6]byte(d.mac)); err != nil {
			return s, err
		}
	}
	s.endpoint.Watch(func(f socket.Frontend) { s.shadow.SetFrontend(shadow.Frontend(f)) })
	return s, nil
}

// followLink has the app VM's link be what the driver VM says.
func (s *shadowed) followLink() { s.endpoint.SetLink(!s.device.LinkDown()) }

// link joins the app VM and the shadow.
func (s *shadowed) link() (l netfwd.Link) {
	for _, p := range s.endpoint.Ports() {
		l[0].Queues = append(l[0].Queues, p)
	}
	for _, p := range s.shadow.Ports() {
		l[1].Queues = append(l[1].Queues, p)
	}
	l[1].Spread = s.shadow.Spread
	return l
}

// tell has all ports tell who forwards of their changes.
func (s *shadowed) tell(b *netfwd.Balancer) {
	for _, p := range s.endpoint.Ports() {
		p.OnChange(b.WakeLoops)
		p.OnStateChange(b.StateChanged)
	}
	for _, p := range s.shadow.Ports() {
		p.OnChange(b.WakeLoops)
		p.OnStateChange(b.StateChanged)
	}
}

// controls are what serves both sides, besides the loops.
func (s *shadowed) controls() []func(context.Context) error {
	return []func(context.Context) error{
		func(ctx context.Context) error { return s.server.Serve(ctx, s.monitor) }, s.endpoint.Run, s.shadow.Run,
	}
}

// close takes down what there is. No one forwards any more.
func (s *shadowed) close() error {
	var errs []error
	if s.inside != nil {
		s.inside.Close()
	}
	if s.endpoint != nil {
		errs = append(errs, s.endpoint.Close())
	}
	if s.device != nil {
		errs = append(errs, s.device.Close())
	}
	if s.ram != nil {
		errs = append(errs, s.ram.Close())
	}
	if s.memory != nil {
		errs = append(errs, s.memory.Close())
	}
	return errors.Join(errs...)
}

// runShadow forwards between app VMs and shadow regions until ctx ends, and prints statistics to out. finish
// gives up privileges when all is made.
func runShadow(ctx context.Context, o options, files *opened, finish func() error, out io.Writer, log *zap.Logger) (err error) {
	limits, err := o.sharing()
	if err != nil {
		return err
	}
	var all []*shadowed
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.close())
		}
	}()
	var links []netfwd.Link
	var controls []func(context.Context) error
	for i, d := range o.devices {
		s, err := newShadowed(o, d, files.sockets[i], limits, log)
		if err != nil {
			return err
		}
		all = append(all, s)
		links = append(links, s.link())
		controls = append(controls, s.controls()...)
	}
	balancer, err := newBalancer(o, links, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, balancer.Close()) }()
	for _, s := range all {
		s.tell(balancer)
	}
	if err := finish(); err != nil {
		return err
	}
	for i, d := range o.devices {
		log.Info("ready", zap.String("vfio-user", d.vfioUser), zap.String("vhost-user", d.vhostUser),
			zap.String("shadow", o.size.String()), zap.Int("queue pairs", o.pairs()), zap.Uint64("BAR 4 bytes", all[i].device.Region(4).Size))
	}
	controls = append(controls, func(ctx context.Context) error { return o.reports.Run(ctx, balancer.Collect, out) })
	err = forward(ctx, balancer, controls)
	log.Info("stopped")
	return errors.Join(err, o.reports.Last(balancer.Collect(), out))
}

// newBalancer makes the loops: as many as CPUs were given, or one.
func newBalancer(o options, links []netfwd.Link, log *zap.Logger) (*netfwd.Balancer, error) {
	cpus := o.cpus
	if len(cpus) == 0 {
		cpus = []int{-1}
	}
	var loops []netfwd.Config
	for _, cpu := range cpus {
		loops = append(loops, netfwd.Config{CPU: cpu, IdleAfter: o.idleAfter, OnFault: func(failed []netfwd.Port, err error) {
			go logFault(log, failed, err) // a loop has no time for logs
		}})
	}
	return netfwd.NewBalancer(links, loops, func(err error) { log.Warn("queue pairs", zap.Error(err)) })
}

func logFault(log *zap.Logger, failed []netfwd.Port, err error) {
	var names []string
	for _, p := range failed {
		names = append(names, p.Name())
	}
	log.Error("a fault stopped ports until their peers start anew", zap.Strings("ports", names), zap.Error(err))
}

// forward runs the loops and all that controls them. Sessions end before the loops do, because
// they wait for the loops to release their rings.
func forward(ctx context.Context, b *netfwd.Balancer, controls []func(context.Context) error) error {
	// A loop occupies a P as long as it polls; control needs one besides.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), len(b.Loops())+1))
	debug.SetGCPercent(20) // the heap is tiny and hardly grows: keep it so

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loopCtx, stopLoops := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	errs := make([]error, len(b.Loops()))
	for i, l := range b.Loops() {
		loops.Go(func() {
			errs[i] = l.Run(loopCtx)
			cancel()
		})
	}
	controls = append(controls, func(ctx context.Context) error {
		b.Run(ctx)
		return nil
	})
	err := serve(ctx, controls...)
	stopLoops()
	loops.Wait()
	return errors.Join(append(errs, err)...)
}
