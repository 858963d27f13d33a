package show

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vvufwd/cmd/vvudemo/guest"
	"vvufwd/cmd/vvudemo/initramfs"
	"vvufwd/cmd/vvudemo/machine"
	"vvufwd/cmd/vvudemo/vm"
)

// Sockets and files of a run.
func (d *demo) vfioUserSocket() string  { return filepath.Join(d.run, "vfio-user") }
func (d *demo) vhostUserSocket() string { return filepath.Join(d.run, "vhost-user") }
func (d *demo) driverImage() string     { return d.out("driver.cpio.gz") }
func (d *demo) appImage() string        { return d.out("app.cpio.gz") }
func (d *demo) pcap() string            { return d.out("nic.pcap") }

// images writes both RAM disks.
func (d *demo) images(context.Context) (string, error) {
	sizes := &d.report.Sizes
	var err error
	if sizes.AppImage, err = (initramfs.App{Busybox: d.Tools.Busybox, Modules: d.Tools.Modules}).Save(d.appImage()); err != nil {
		return "", err
	}
	if d.Direct {
		return fmt.Sprintf("app VM %s", size(sizes.AppImage)), nil
	}
	info, err := os.Stat(d.Tools.Vvufwd)
	if err != nil {
		return "", err
	}
	sizes.Vvufwd = info.Size()
	if sizes.DriverImage, err = (initramfs.Driver{Init: d.Tools.Vvufwd, Modules: d.Tools.Modules}).Save(d.driverImage()); err != nil {
		return "", err
	}
	return fmt.Sprintf("driver VM %s (vvufwd alone %s), app VM %s", size(sizes.DriverImage), size(sizes.Vvufwd), size(sizes.AppImage)), nil
}

// size writes a number of bytes for a person.
func size(bytes int64) string { return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20)) }

// start starts a child. If the rest depends on it (vital), its end before powerOff ends the run.
func (d *demo) start(cfg vm.Config, vital bool) (*vm.Process, error) {
	cfg.Echo = d.Console
	p, err := vm.Start(cfg)
	if err == nil && vital {
		go d.guard(p)
	}
	return p, err
}

// guard waits for the end of a child and ends the run with it, unless ending is what the child was asked for.
func (d *demo) guard(p *vm.Process) {
	select {
	case <-d.ending:
	case <-p.Done():
		select {
		case <-d.ending:
		default:
			d.fail(p.Explain(errors.New("it ended in the middle of the demo")))
		}
	}
}

// startDevice starts vvudev and waits until it listens on both its sockets.
func (d *demo) startDevice(ctx context.Context) (string, error) {
	var err error
	d.vvudev, err = d.start(vm.Config{
		Name: "vvudev", LogPath: d.out("vvudev.log"),
		Argv: []string{d.Tools.Vvudev, "--vfio-user", d.vfioUserSocket(), "--vhost-user", d.vhostUserSocket(), "--ram", d.ram.path()},
	}, true)
	if err != nil {
		return "", err
	}
	if err := awaitSockets(ctx, d.vvudev, d.vfioUserSocket(), d.vhostUserSocket()); err != nil {
		return "", err
	}
	return fmt.Sprintf("listens on both sockets, shows the driver VM %d MiB of the app VM's RAM", appMemoryMiB), nil
}

// awaitSockets waits until all the sockets exist. They are not connected to, because each takes one client.
func awaitSockets(ctx context.Context, p *vm.Process, paths ...string) error {
	limit := time.After(commandLimit)
	for _, path := range paths {
		for {
			info, err := os.Lstat(path)
			if err == nil && info.Mode().Type() == fs.ModeSocket {
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-p.Done():
				return p.Explain(fmt.Errorf("it ended before it listened on %s", path))
			case <-limit:
				return p.Explain(fmt.Errorf("it does not listen on %s", path))
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// startDriver boots the driver VM and waits until vvufwd forwards.
func (d *demo) startDriver(ctx context.Context) (string, error) {
	boot := machine.Boot{QEMU: d.Tools.QEMU, Kernel: d.Tools.Kernel, Initrd: d.driverImage(), Accel: d.Accel, SMP: d.SMP, MemoryMiB: driverMemoryMiB}
	v := machine.Driver{Boot: boot, VVU: d.Device, Socket: d.vfioUserSocket(), Net: d.network.backend, Pcap: d.pcap()}
	if d.Device == machine.BuiltIn {
		v.Socket = d.vhostUserSocket()
	}
	v.InitArgs = append([]string{"--vvu", machine.VVUAddress, "--nic", machine.NICAddress, "--stats", statsInterval.String(), "--stats-json"}, d.ForwarderArgs...)
	begin := time.Now()
	var err error
	d.driver, err = d.start(vm.Config{Name: "driver VM", Argv: v.Argv(), Env: d.Tools.QEMU.Env, LogPath: d.out("driver.log"), OnLine: d.counters.Feed}, true)
	if err != nil {
		return "", err
	}
	if _, _, err := d.driver.Expect(ctx, 0, bootLimit, "word that vvufwd is forwarding", containing("forwarding")); err != nil {
		return "", err
	}
	return fmt.Sprintf("vvufwd forwards, %.1f s after QEMU's start", time.Since(begin).Seconds()), nil
}

func containing(word string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, word) }
}

// startApp boots the app VM, for the first time or again, and waits until it obeys commands.
func (d *demo) startApp(ctx context.Context) (string, error) {
	boot := machine.Boot{QEMU: d.Tools.AppQEMU, Kernel: d.Tools.Kernel, Initrd: d.appImage(), Accel: d.Accel, SMP: 1, MemoryMiB: appMemoryMiB}
	v := machine.App{Boot: boot, RAMFile: d.ram.path(), Socket: d.vhostUserSocket(), NetOpts: d.AppNetOpts}
	if d.Direct {
		v.Direct = &d.network.backend
		if d.sessions == 0 {
			v.Pcap = d.pcap() // that of a restarted machine would replace it
		}
	}
	if err := d.ram.clear(); err != nil {
		return "", err
	}
	begin := time.Now()
	var err error
	d.appProcess, err = d.start(vm.Config{Name: "app VM", Argv: v.Argv(), Env: d.Tools.AppQEMU.Env, LogPath: d.out("app.log"), Append: d.sessions > 0}, false)
	if err != nil {
		return "", err
	}
	d.sessions++
	app, mac, err := guest.WaitReady(ctx, d.appProcess, bootLimit)
	if err != nil {
		return "", err
	}
	if mac != machine.AppMAC {
		return "", fmt.Errorf("the app VM's network device has the hardware address %s, want %s", mac, machine.AppMAC)
	}
	d.app = app
	return fmt.Sprintf("up, %.1f s after QEMU's start", time.Since(begin).Seconds()), nil
}

// keep leaves the machines running until the person says so.
func (d *demo) keep(ctx context.Context) (string, error) {
	d.progress.say("keep", "the machines run on; the app VM serves %s; Enter stops them", d.network.appURL(d.lease.IP(), "blob"))
	return "done", d.Keep(ctx)
}

// powerOff makes both machines end by themselves, then stops vvudev.
func (d *demo) powerOff(ctx context.Context) (string, error) {
	close(d.ending)
	if err := d.app.PowerOff(ctx, stopLimit); err != nil {
		return "", err
	}
	if d.Direct {
		return "the app VM ended by itself", nil
	}
	if err := d.driver.Send(""); err != nil { // Enter
		return "", err
	}
	if err := d.driver.WaitExit(ctx, stopLimit); err != nil {
		return "", err
	}
	// The supervisor's last words; a clean stop says 0.
	if line, _, err := d.driver.Wait(ctx, 0, containing("vvufwd: exit code")); err == nil && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
		return "", d.driver.Explain(errors.New("vvufwd did not end well"))
	}
	if d.vvudev != nil {
		if err := d.vvudev.Terminate(); err != nil {
			return "", err
		}
		if err := d.vvudev.WaitExit(ctx, stopLimit); err != nil {
			return "", err
		}
	}
	return "both machines ended by themselves", nil
}
