package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	vfiouser "vvufwd/vfio/user"
	"vvufwd/vvu/device"
)

// run is the program: it serves until ctx ends.
func run(ctx context.Context, args []string) error {
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Println("vvudev", version())
		return nil
	}
	log := newLogger(o)
	defer log.Sync()

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
	log.Info("ready", zap.String("vfio-user", o.vfioUser), zap.String("vhost-user", o.vhostUser),
		zap.String("ram", o.ram), zap.Uint64("ram bytes", ram.Size()), zap.Uint64("BAR 2 bytes", dev.Region(2).Size))
	err = serve(ctx, dev, monitor, frontend, log)
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
func serve(ctx context.Context, dev *device.Device, monitor, frontend *net.UnixListener, log *zap.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var errs [2]error
	for i, side := range []func() error{
		func() error { return vfiouser.NewServer(dev, log).Serve(ctx, monitor) },
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

func newLogger(o options) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339TimeEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if o.logFormat == "console" {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.LowercaseLevelEncoder
		encoding.ConsoleSeparator = " "
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), o.logLevel))
}

// version is that of the module, or of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
