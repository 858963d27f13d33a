package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/internal/logging"
	vfiouser "vvufwd/vfio/user"
	"vvufwd/vvu/device"
)

// run is the program: it serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stdout)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(stdout, cli.Version("vvudev"))
		return err
	}
	log := logging.New(stderr, o.logFormat, o.logLevel)
	if err := checkCreateRAM(o, log); err != nil {
		return &unusableError{err}
	}

	monitor, err := listen("--vfio-user", o.vfioUser)
	if err != nil {
		return &unusableError{err}
	}
	defer monitor.Close()
	frontend, err := listen("--vhost-user", o.vhostUser)
	if err != nil {
		return &unusableError{err}
	}
	defer frontend.Close()
	ram, err := openRAM(o)
	if err != nil {
		return &unusableError{err}
	}
	defer ram.Close()
	dev, err := device.New(device.Config{RAM: ram, Queues: o.queues, UUID: o.uuid, Log: log})
	if err != nil {
		return err
	}
	defer dev.Close()
	server := vfiouser.NewServer(dev, log)
	server.LimitMemory(o.maxMemory())
	if !o.noConfine {
		policy := confine.Policy{Listen: []string{o.vfioUser, o.vhostUser}, AsyncIO: true}
		if err := policy.Apply(log); err != nil {
			return err
		}
	}
	log.Info("ready", zap.String("vfio-user", o.vfioUser), zap.String("vhost-user", o.vhostUser),
		zap.String("ram", o.ram), zap.Uint64("ram bytes", ram.Size()), zap.Uint64("BAR 2 bytes", dev.Region(2).Size))
	err = serve(ctx, server, dev, monitor, frontend)
	log.Info("stopped")
	return err
}

func openRAM(o options) (*device.RAMFile, error) {
	if o.createRAM != 0 {
		return device.CreateRAM(o.ram, uint64(o.createRAM))
	}
	return device.OpenRAM(o.ram)
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
