package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/internal/logging"
	"vvufwd/cmd/internal/service"
	"vvufwd/vvu/device"
	"vvufwd/vvu/vfiouser"
)

// run is the program: it serves until a signal comes.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stdout)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Fprintln(stdout, cli.Version("vvudev"))
		return flag.ErrHelp // all that was asked for
	}
	if err := cli.CheckCPUs("--cpus", o.cpus); err != nil {
		return err
	}
	log := logging.New(stderr, o.logFormat, o.logLevel)
	if q, ok := stdout.(*logging.Queue); ok {
		q.ReportIn(log, "statistics")
	}
	policy := o.policy()
	execute := !o.noConfine && !confine.Started()
	acquire, stopped := open, confine.Stop(nil)
	switch {
	case confine.Started():
		acquire = inherit
	case execute:
		stopped = confine.CatchStop()
	}
	files, err := acquire(o, log)
	if err != nil {
		return err
	}
	defer files.close()
	if err := service.Ready(); err != nil {
		return err
	}
	if execute {
		if q, ok := stderr.(*logging.Queue); ok {
			logging.Flush(logging.LastWords, q)
		}
		return files.confined(o, policy, stopped)
	}

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	finish := func() error {
		if o.noConfine {
			return nil
		}
		return policy.Finish(log)
	}
	if o.on() {
		err = runShadow(ctx, o, files, finish, stdout, log)
	} else {
		err = runDevice(ctx, o, files, finish, log)
	}
	return err
}

// policy is what serving devices needs.
func (o *options) policy() confine.Policy {
	p := confine.Policy{AsyncIO: true, SocketPairs: o.on()}
	for _, d := range o.devices {
		p.Listen = append(p.Listen, d.vfioUser, d.vhostUser)
	}
	if o.on() {
		p.Read = []string{maxMappings} // see sharing
	}
	return p
}

// runDevice shows the driver VM the RAM file. finish gives up privileges when all is made.
func runDevice(ctx context.Context, o options, files *opened, finish func() error, log *zap.Logger) error {
	dev, err := device.New(device.Config{RAM: files.ram, Queues: o.queues, UUID: o.uuid, Log: log})
	if err != nil {
		return err
	}
	defer dev.Close()
	server := vfiouser.NewServer(dev, log)
	server.LimitMemory(o.maxMemory())
	if err := finish(); err != nil {
		return err
	}
	log.Info("ready", zap.String("vfio-user", o.vfioUser), zap.String("vhost-user", o.vhostUser),
		zap.String("ram", o.ram), zap.Uint64("ram bytes", files.ram.Size()), zap.Uint64("BAR 4 bytes", dev.Region(4).Size))
	err = serve(ctx,
		func(ctx context.Context) error { return server.Serve(ctx, files.sockets[0].monitor) },
		func(ctx context.Context) error { return dev.ServeFrontends(ctx, files.sockets[0].frontend) },
	)
	log.Info("stopped")
	return err
}

// serve runs all that there is to run until ctx ends or one of them fails.
func serve(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, one := range all {
		wg.Go(func() {
			errs[i] = one(ctx)
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
