package show

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// appVM is an app VM with what is its own: RAM, sockets, and the process that provides its virtio-vhost-user device.
type appVM struct {
	*guest.App // nil before the first boot

	number int // from 0: its place in the driver VM
	setup  appSetup
	run    string // directory of its sockets
	log    string // path of its console log
	ram    *ram   // nil: QEMU makes it

	device  *vm.Process // vvudev
	process *vm.Process
	lease   guest.Lease
	boots   int // to begin its log file only once
}

// appSetup is how an app VM boots the next time.
type appSetup struct {
	kernel, initrd string
	smp            int
	queues         int    // pairs of its network device; 0 means one
	netOpts        string // more properties of that
}

// name is what lines for a person call it.
func (a *appVM) name() string {
	if a.number == 0 {
		return "app VM"
	}
	return fmt.Sprintf("app VM %d", a.number+1)
}

// suffixed tells the files of several app VMs apart.
func (a *appVM) suffixed(name string) string {
	if a.number == 0 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, a.number+1)
}

func (a *appVM) vfioUserSocket() string  { return filepath.Join(a.run, a.suffixed("vfio-user")) }
func (a *appVM) vhostUserSocket() string { return filepath.Join(a.run, a.suffixed("vhost-user")) }

// newAppVM makes what an app VM needs before anything runs.
func (d *demo) newAppVM(number int) (*appVM, error) {
	a := &appVM{
		number: number, run: d.run,
		setup: appSetup{kernel: d.Tools.Kernel, initrd: d.appImage(), smp: 1},
	}
	d.App.apply(a, d.AppNetOpts)
	a.log = d.out(a.suffixed("app") + ".log")
	if d.Shadow {
		return a, nil
	}
	var err error
	a.ram, err = newRAM(appMemoryMiB << 20)
	return a, err
}

// startDevice starts an app VM's vvudev and waits until it listens on both its sockets.
func (d *demo) startDevice(ctx context.Context, a *appVM) error {
	var err error
	a.device, err = d.start(vm.Config{Name: "vvudev", LogPath: d.out(a.suffixed("vvudev") + ".log"), Argv: d.deviceArgv(a)}, true)
	if err != nil {
		return err
	}
	return awaitSockets(ctx, a.device, a.vfioUserSocket(), a.vhostUserSocket())
}

// deviceArgv is the command line of an app VM's vvudev.
func (d *demo) deviceArgv(a *appVM) []string {
	argv := []string{d.Tools.Vvudev, "--vfio-user", a.vfioUserSocket(), "--vhost-user", a.vhostUserSocket()}
	if d.Shadow {
		return append(append(argv, "--shadow"), d.VvudevArgs...)
	}
	argv = append(argv, "--ram", a.ram.path())
	if a.ram.named() {
		argv = append(argv, "--create-ram", fmt.Sprintf("%dM", appMemoryMiB))
	}
	return argv
}

// appMachine is an app VM as it boots the next time.
func (d *demo) appMachine(a *appVM) machine.App {
	boot := machine.Boot{QEMU: d.Tools.AppQEMU, Kernel: a.setup.kernel, Initrd: a.setup.initrd, Accel: d.Accel, SMP: a.setup.smp, MemoryMiB: appMemoryMiB}
	v := machine.App{
		Boot: boot, RAMFile: a.ram.path(), Socket: a.vhostUserSocket(), MAC: machine.AppMACOf(a.number),
		Queues: a.setup.queues, NetOpts: a.setup.netOpts,
	}
	if d.Direct {
		v.Direct = &d.network.backend
		if a.boots == 0 {
			v.Pcap = d.pcap() // that of a restarted machine would replace it
		}
	}
	return v
}

// boot boots an app VM, for the first time or again, and waits until it obeys commands.
func (d *demo) boot(ctx context.Context, a *appVM) (string, error) {
	v := d.appMachine(a)
	if err := a.ram.clear(); err != nil {
		return "", err
	}
	begin := time.Now()
	var err error
	a.process, err = d.start(vm.Config{Name: a.name(), Argv: v.Argv(), LogPath: a.log, Append: a.boots > 0}, false)
	if err != nil {
		return "", err
	}
	a.boots++
	app, mac, err := guest.WaitReady(ctx, a.process, bootLimit)
	if err != nil {
		return "", err
	}
	if mac != v.MAC {
		return "", fmt.Errorf("the %s's network device has the hardware address %s, want %s", a.name(), mac, v.MAC)
	}
	a.App = app
	return fmt.Sprintf("up, %.1f s after QEMU's start", time.Since(begin).Seconds()), nil
}

// kill ends an app VM at once and waits for the word that vvufwd has noticed.
func (d *demo) kill(ctx context.Context, a *appVM) error {
	if d.Direct {
		return a.process.Kill()
	}
	mark := d.driver.Mark()
	if err := a.process.Kill(); err != nil {
		return err
	}
	_, _, err := d.driver.Expect(ctx, mark, commandLimit, "word that the front-end disconnected", func(line string) bool {
		return strings.Contains(line, "front-end disconnected") && strings.Contains(line, machine.VVUAddress(a.number))
	})
	return err
}

// together does something with every app VM at the same time, waits for all, and returns what failed.
func (d *demo) together(do func(a *appVM) error) error {
	results := make(chan error, len(d.apps))
	for _, a := range d.apps {
		go func() { results <- do(a) }()
	}
	var errs []error
	for range d.apps {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
