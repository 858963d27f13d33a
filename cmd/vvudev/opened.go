package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/device"
	"vvufwd/vvu/vhostuser"
)

// opened is what vvudev opens with all the privileges that it is started with.
type opened struct {
	sockets []sockets       // in the order of the devices
	ram     *device.RAMFile // nil with a shadow
}

// sockets are those of one device.
type sockets struct{ monitor, frontend *net.UnixListener }

// Names of the files that a vvudev hands over to the one that it becomes; those of sockets
// have the path behind them.
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
	for _, d := range o.devices {
		s := sockets{}
		if s.monitor, err = vhostuser.Listen(d.vfioUser); err != nil {
			err = fmt.Errorf("%s %s: %w", monitorFile, d.vfioUser, err)
		} else if s.frontend, err = vhostuser.Listen(d.vhostUser); err != nil {
			err = fmt.Errorf("%s %s: %w", frontendFile, d.vhostUser, err)
		}
		f.sockets = append(f.sockets, s)
		if err != nil {
			return f, err
		}
	}
	switch {
	case o.on():
	case o.createRAM != 0:
		f.ram, err = device.CreateRAM(o.ram, uint64(o.createRAM))
	default:
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
	missing := false
	for _, d := range o.devices {
		s := sockets{}
		if s.monitor, err = confine.InheritedListener(monitorFile + " " + d.vfioUser); err == nil {
			s.frontend, err = confine.InheritedListener(frontendFile + " " + d.vhostUser)
		}
		f.sockets = append(f.sockets, s)
		if err != nil {
			return f, err
		}
		missing = missing || s.monitor == nil || s.frontend == nil
	}
	var ram *os.File
	if !o.on() {
		ram = confine.Inherited(ramFile)
		missing = missing || ram == nil
	}
	if missing {
		return f, errors.New("not all files were handed over")
	}
	if ram != nil {
		f.ram, err = device.AdoptRAM(o.ram, ram)
	}
	return f, err
}

// confined starts vvudev again with these files and without its privileges. It returns only
// if it fails, or if a signal stops it.
func (f *opened) confined(o options, policy confine.Policy, stop confine.Stop) (err error) {
	files := map[string]*os.File{}
	for i, d := range o.devices {
		for name, l := range map[string]*net.UnixListener{
			monitorFile + " " + d.vfioUser: f.sockets[i].monitor, frontendFile + " " + d.vhostUser: f.sockets[i].frontend,
		} {
			if files[name], err = confine.ListenerFile(l); err != nil {
				return err
			}
		}
	}
	if f.ram != nil {
		if files[ramFile], err = f.ram.Dup(); err != nil {
			return fmt.Errorf("hand it over: %w", err)
		}
	}
	err = policy.Start(os.Args, files, stop)
	if errors.Is(err, confine.ErrStopped) {
		return nil
	}
	return err
}

// close closes what is open, and removes the sockets.
func (f *opened) close() {
	for _, s := range f.sockets {
		for _, l := range []*net.UnixListener{s.monitor, s.frontend} {
			if l != nil {
				new(peerfd.Bin).Close(l)
			}
		}
	}
	if f.ram != nil {
		f.ram.Close()
	}
}
