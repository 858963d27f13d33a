package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/vvu/device"
)

// opened is what vvudev opens with all the privileges that it is started with.
type opened struct {
	monitor, frontend *net.UnixListener
	ram               *device.RAMFile
}

// Names of the files that a vvudev hands over to the one that it becomes.
const (
	monitorFile  = "--vfio-user"
	frontendFile = "--vhost-user"
	ramFile      = "--ram"
)

// open opens what the command line names.
func open(o options, log *zap.Logger) (f *opened, err error) {
	f = &opened{}
	defer func() {
		if err != nil {
			f.close()
			err = &cli.UnusableError{Err: err}
		}
	}()
	if err := checkCreateRAM(o, log); err != nil {
		return f, err
	}
	if f.monitor, err = listen(monitorFile, o.vfioUser); err != nil {
		return f, err
	}
	if f.frontend, err = listen(frontendFile, o.vhostUser); err != nil {
		return f, err
	}
	if o.createRAM != 0 {
		f.ram, err = device.CreateRAM(o.ram, uint64(o.createRAM))
	} else {
		f.ram, err = device.OpenRAM(o.ram)
	}
	return f, err
}

// inherit takes over what the vvudev opened that this one was.
func inherit(o options, _ *zap.Logger) (f *opened, err error) {
	f = &opened{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.monitor, err = confine.InheritedListener(monitorFile); err != nil {
		return f, err
	}
	if f.frontend, err = confine.InheritedListener(frontendFile); err != nil {
		return f, err
	}
	ram := confine.Inherited(ramFile)
	if f.monitor == nil || f.frontend == nil || ram == nil {
		return f, errors.New("not all files were handed over")
	}
	f.ram, err = device.AdoptRAM(o.ram, ram)
	return f, err
}

// confined starts vvudev again with these files and without its privileges. It returns only
// if it fails, or if a signal stops it.
func (f *opened) confined(policy confine.Policy, stop confine.Stop) error {
	files := map[string]*os.File{}
	for name, l := range map[string]*net.UnixListener{monitorFile: f.monitor, frontendFile: f.frontend} {
		file, err := confine.ListenerFile(l)
		if err != nil {
			return err
		}
		files[name] = file
	}
	var err error
	if files[ramFile], err = f.ram.Dup(); err != nil {
		return fmt.Errorf("hand it over: %w", err)
	}
	err = policy.Start(os.Args, files, stop)
	if errors.Is(err, confine.ErrStopped) {
		return nil
	}
	return err
}

// close closes what is open, and removes the sockets.
func (f *opened) close() {
	if f.monitor != nil {
		f.monitor.Close()
	}
	if f.frontend != nil {
		f.frontend.Close()
	}
	if f.ram != nil {
		f.ram.Close()
	}
}
