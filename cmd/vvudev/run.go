package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/internal/logging"
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
		_, err := fmt.Fprintln(stdout, cli.Version("vvudev"))
		return err
	}
	log := logging.New(stderr, o.logFormat, o.logLevel)
	policy := confine.Policy{Listen: []string{o.vfioUser, o.vhostUser}, AsyncIO: true}
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
	if execute {
		if q, ok := stderr.(*logging.Queue); ok {
			logging.Flush(logging.LastWords, q)
		}
		return files.confined(policy, stopped)
	}

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	dev, err := device.New(device.Config{RAM: files.ram, Queues: o.queues, UUID: o.uuid, Log: log})
	if err != nil {
		return err
	}
	defer dev.Close()
	server := vfiouser.NewServer(dev, log)
	server.LimitMemory(o.maxMemory())
	if !o.noConfine {
		if err := policy.Finish(log); err != nil {
			return err
		}
	}
	log.Info("ready", zap.String("vfio-user", o.vfioUser), zap.String("vhost-user", o.vhostUser),
		zap.String("ram", o.ram), zap.Uint64("ram bytes", files.ram.Size()), zap.Uint64("BAR 4 bytes", dev.Region(4).Size))
	err = serve(ctx, server, dev, files.monitor, files.frontend)
	log.Info("stopped")
	return err
}

// serve runs both sides of the device until ctx ends or one of them fails.
func serve(ctx context.Context, server *vfiouser.Server, dev *device.Device, monitor, frontend *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var errs [2]error
	for i, side := range []func() error{
		func() error { return server.Serve(ctx, monitor) },
		func() error { return dev.ServeFrontends(ctx, frontend) },
	} {
		wg.Go(func() {
			errs[i] = side()
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}
