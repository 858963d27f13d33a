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

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// Files of a run.
func (d *demo) driverImage() string {
	if d.OtherImage != "" {
		return d.OtherImage
	}
	return d.out("driver.cpio.gz")
}
func (d *demo) appImage() string { return d.out("app.cpio.gz") }
func (d *demo) pcap() string     { return d.out("nic.pcap") }

// images writes both RAM disks.
func (d *demo) images(context.Context) (string, error) {
	sizes := &d.report.Sizes
	var err error
	app := initramfs.App{Busybox: d.Tools.Busybox, Modules: d.Tools.Modules}
	if len(d.apps) > 1 {
		app.MoreModules = append(app.MoreModules, vlanModules...)
	}
	if d.Frames > 0 || d.Bench != nil {
		app.MoreModules = append(app.MoreModules, initramfs.GeneratorModule)
	}
	if d.Bench != nil { // its receiver
		app.Files = map[string]string{"bin/vvugen": d.Tools.Vvugen}
	}
	if sizes.AppImage, err = app.Save(d.appImage()); err != nil {
		return "", err
	}
	if !d.counted() {
		return fmt.Sprintf("app VM %s", size(sizes.AppImage)), nil
	}
	info, err := os.Stat(d.Tools.Vvufwd)
	if err != nil {
		return "", err
	}
	sizes.Vvufwd = info.Size()
	if sizes.DriverImage, err = d.saveDriver(d.driverInitramfs(), d.driverKernel()); err != nil {
		return "", err
	}
	return fmt.Sprintf("driver VM %s (vvufwd alone %s), app VM %s", size(sizes.DriverImage), size(sizes.Vvufwd), size(sizes.AppImage)), nil
}

// saveDriver writes the driver VM's RAM disk and returns its size. Beside it is a link to the kernel whose modules it has, for those who
// boot it by hand: that may be one of this machine's, or one of several that were unpacked.
func (d *demo) saveDriver(image initramfs.Driver, kernel string) (int64, error) {
	bytes, err := image.Save(d.driverImage())
	if err != nil {
		return 0, err
	}
	if kernel, err = filepath.Abs(kernel); err != nil {
		return 0, err
	}
	link := d.out("vmlinuz")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return bytes, os.Symlink(kernel, link)
}

// driverInitramfs is the driver VM's image. Only the kernel's own driver of a NIC needs more than vvufwd.
func (d *demo) driverInitramfs() initramfs.Driver {
	if d.NIC == machine.IGBVF {
		return initramfs.Driver{Init: d.Tools.Vvufwd, Modules: d.Tools.FullModules, Busybox: d.Tools.Busybox, VF: true}
	}
	return initramfs.Driver{Init: d.Tools.Vvufwd, Modules: d.driverModules(), MoreModules: append(d.NICPort.Modules(d.NIC), d.captureModules()...)}
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
			if d.sacrificed.Load() == p {
				return
			}
			d.fail(p.Explain(errors.New("it ended in the middle of the demo")))
		}
	}
}

// startDevices starts a vvudev for each app VM.
func (d *demo) startDevices(ctx context.Context) (string, error) {
	for _, a := range d.apps {
		if err := d.startDevice(ctx, a); err != nil {
			return "", err
		}
	}
	if len(d.apps) > 1 {
		return fmt.Sprintf("%d listen on both their sockets", len(d.apps)), nil
	}
	if d.Shadow {
		return "listens on both sockets, shows the driver VM a shadow region and nothing of the app VM's RAM", nil
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

// driverMachine is the driver VM.
func (d *demo) driverMachine() machine.Driver {
	boot := machine.Boot{QEMU: d.Tools.QEMU, Kernel: d.driverKernel(), Initrd: d.driverImage(), Accel: d.Accel, SMP: d.SMP, MemoryMiB: driverMemoryMiB}
	v := machine.Driver{Boot: boot, VVU: d.Device, IOMMU: d.IOMMU, Net: d.network.backend, NIC: d.NIC, NICOpts: d.NICOpts}
	if d.network.backend.Queues <= 1 && d.driver == nil { // QEMU captures from one queue pair only, and begins the file anew
		v.Pcap = d.pcap()
	}
	for _, a := range d.apps {
		if d.Device == machine.BuiltIn {
			v.Sockets = append(v.Sockets, a.vhostUserSocket())
		} else {
			v.Sockets = append(v.Sockets, a.vfioUserSocket())
		}
	}
	v.InitArgs = d.initArgs(len(d.apps))
	v.Serial = d.serialPorts()
	return v
}

// startDriver boots the driver VM and waits until vvufwd forwards.
func (d *demo) startDriver(ctx context.Context) (string, error) {
	begin := time.Now()
	var err error
	d.driver, err = d.start(vm.Config{Name: "driver VM", Argv: d.driverMachine().Argv(), LogPath: d.out("driver.log"), Append: d.driver != nil, OnLine: d.counters.Feed}, true)
	if err != nil {
		return "", err
	}
	if _, _, err := d.driver.Expect(ctx, 0, bootLimit, "word that vvufwd is forwarding", vm.Containing(d.ready())); err != nil {
		return "", err
	}
	if !d.counted() {
		return fmt.Sprintf("it says %q, %.1f s after QEMU's start", d.ready(), time.Since(begin).Seconds()), nil
	}
	return fmt.Sprintf("vvufwd forwards, %.1f s after QEMU's start", time.Since(begin).Seconds()), nil
}

// ready is what the driver VM's console says when frames are forwarded.
func (c *Config) ready() string {
	if c.OtherImage != "" {
		return c.OtherReady
	}
	return "forwarding"
}

// driverKernel is the driver VM's: a virtio IOMMU takes the second one, for the first has no driver of it.
func (c *Config) driverKernel() string {
	switch {
	case c.Newest && c.hardware() && c.Tools.NewestFullKernel != "":
		return c.Tools.NewestFullKernel
	case c.Newest && c.Tools.NewestKernel != "":
		return c.Tools.NewestKernel
	case c.hardware():
		return c.Tools.FullKernel
	case c.IOMMU == machine.Virtio && c.Tools.NewerKernel != "":
		return c.Tools.NewerKernel
	}
	return c.Tools.Kernel
}

// driverModules are its modules.
func (c *Config) driverModules() *kmod.Tree {
	switch {
	case c.Newest && c.hardware() && c.Tools.NewestFullModules != nil:
		return c.Tools.NewestFullModules
	case c.Newest && c.Tools.NewestModules != nil:
		return c.Tools.NewestModules
	case c.hardware() && c.Tools.FullModules != nil:
		return c.Tools.FullModules
	case c.IOMMU == machine.Virtio && c.Tools.NewerModules != nil:
		return c.Tools.NewerModules
	case c.IOMMU == machine.None && c.Tools.BareModules != nil:
		return c.Tools.BareModules
	}
	return c.Tools.Modules
}

// startApps boots all app VMs at the same time.
func (d *demo) startApps(ctx context.Context) (string, error) {
	if len(d.apps) == 1 {
		return d.boot(ctx, d.apps[0])
	}
	begin := time.Now()
	err := d.together(func(a *appVM) error {
		_, err := d.boot(ctx, a)
		return err
	})
	return fmt.Sprintf("%d are up, %.1f s after QEMU's start", len(d.apps), time.Since(begin).Seconds()), err
}

// keep leaves the machines running until the person says so.
func (d *demo) keep(ctx context.Context) (string, error) {
	d.progress.say("keep", "the machines run on; the app VM serves %s; Enter stops them", d.network.appURL(d.apps[0], "blob"))
	return "done", d.Keep(ctx)
}

// powerOff makes both machines end by themselves, then stops vvudev.
func (d *demo) powerOff(ctx context.Context) (string, error) {
	close(d.ending)
	if err := d.together(func(a *appVM) error { return a.PowerOff(ctx, stopLimit) }); err != nil {
		return "", err
	}
	if d.Direct {
		return "the app VM ended by itself", nil
	}
	if err := d.endDriver(ctx); err != nil {
		return "", err
	}
	return "all machines ended by themselves", d.endDevices(ctx)
}

// endDriver tells vvufwd to stop, as an Enter on its console does, and waits until the driver VM has powered itself off.
func (d *demo) endDriver(ctx context.Context) error {
	if !d.counted() {
		return d.driver.Kill() // it knows nothing of that
	}
	if err := d.driver.Send(""); err != nil {
		return err
	}
	if err := d.driver.WaitExit(ctx, stopLimit); err != nil {
		return err
	}
	// The supervisor's last words; a clean stop says 0.
	if line, _, err := d.driver.Wait(ctx, 0, vm.Containing("vvufwd: exit code")); err == nil && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
		return d.driver.Explain(errors.New("vvufwd did not end well"))
	}
	return nil
}

// endDevices stops every vvudev.
func (d *demo) endDevices(ctx context.Context) error {
	for _, a := range d.apps {
		if a.device == nil {
			continue
		}
		if err := a.device.Terminate(); err != nil {
			return err
		}
		if err := a.device.WaitExit(ctx, stopLimit); err != nil {
			return err
		}
	}
	return nil
}
