package e2e

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/qmp"
	"vvufwd/cmd/internal/lab/vm"
)

// driverShell is a driver VM in which vvufwd is a command, and the test types what is to be done.
type driverShell struct {
	*vm.Process
	mark int // the first line of its console that no wait has passed yet
}

const (
	userHost    = "10.0.2.2"     // of QEMU's user networking
	unplugNIC   = "0000:01:00.0" // behind the only root port
	staysNIC    = machine.NICAddress
	unplugID    = "plugged"
	virtioModel = "virtio-net-pci"
)

// unplugModel is QEMU's name of the NIC that is unplugged and reset. "make matrix" tries others.
var unplugModel = flag.String("unplug-nic", virtioModel, "the NIC that is unplugged and reset: virtio-net-pci, e1000e or igb")

// see waits for a line of the console, from where the last such wait ended.
func (d *driverShell) see(l *lab, words ...string) (line string) {
	l.Helper()
	var err error
	line, d.mark, err = d.Expect(l.ctx, d.mark, bootLimit, fmt.Sprintf("line with %q", words), vm.Containing(words...))
	l.must(err)
	return line
}

// survives waits for a line as see does, after a vvudev was killed, and returns false if QEMU has aborted before: version 11.1 does
// now and then when two of its threads notice the end of the socket at the same time ("error_setv: Assertion").
func (d *driverShell) survives(l *lab, words ...string) bool {
	l.Helper()
	_, next, err := d.Expect(l.ctx, d.mark, bootLimit, fmt.Sprintf("line with %q", words), vm.Containing(words...))
	if err == nil {
		d.mark = next
		return true
	}
	for _, line := range d.Tail(100) {
		if strings.Contains(line, "error_setv: Assertion") {
			l.Log("QEMU aborted: ", line)
			return false
		}
	}
	l.Fatal(err)
	return false
}

// do carries out a command line, and waits for its end.
func (d *driverShell) do(l *lab, command string) {
	l.Helper()
	d.mark = d.Mark() // not the end of an earlier one
	l.must(d.Send(command + `; echo "@@" did`))
	d.see(l, "@@ did")
}

// virtioOptions are those that virtio-net needs and no other NIC has.
func virtioOptions() string {
	if *unplugModel == virtioModel {
		return ",disable-legacy=on,iommu_platform=on"
	}
	return ""
}

// bootShell boots a driver VM with two virtio-vhost-user devices, a NIC that stays and one that can be unplugged.
func (l *lab) bootShell(sockets ...string) *driverShell {
	l.Helper()
	image := filepath.Join(l.out, "driver.cpio.gz")
	_, err := initramfs.Driver{Init: l.tools.Vvufwd, Modules: l.tools.Modules, Busybox: l.tools.Busybox}.Save(image)
	l.must(err)
	boot := machine.Boot{QEMU: l.tools.QEMU, Kernel: l.tools.Kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256}
	argv := append(machine.Driver{Boot: boot, Sockets: sockets}.Argv(),
		"-qmp", "unix:"+l.socket("driver-qmp")+",server=on,wait=off",
		"-device", "pcie-root-port,id=rp,chassis=1,addr=8",
		"-netdev", "user,id=other,ipv6=off",
		"-device", *unplugModel+",id="+unplugID+",netdev=other,romfile=,bus=rp"+virtioOptions())
	d := &driverShell{}
	d.Process, err = vm.Start(vm.Config{Name: "driver VM", Argv: argv, LogPath: filepath.Join(l.out, "driver.log")})
	l.must(err)
	l.atEnd(func() { d.Close() })
	d.see(l, "@@ ready")
	return d
}

// TestDevicesComeAndGo takes devices from a running, confined vvufwd in all ways in which a machine does that, and gives them
// back: a NIC by hot-plug, a virtio-vhost-user device by removal and a rescan, and by its driver. Each time the machine must get
// it, and traffic goes on when it is back. Then the programs end that provide the devices: with the first goes its pair, with
// the second vvufwd.
func TestDevicesComeAndGo(t *testing.T) {
	l := newLab(t)
	app := l.machine("a", 1, l.image(), l.socket("app"))
	app.RAMFile, app.Reconnect = l.ramFile(app.MemoryMiB), true
	first := l.device(app.RAMFile, l.socket("vvu"), app.Socket)
	second := l.device(l.ramFile(64), l.socket("vvu2"), l.socket("app2"))
	var driver *driverShell
	var control *qmp.Client
	alive := false

	pings := func(l *lab) {
		l.Helper()
		l.eventually(func() error { // the app VM's QEMU connects again within a second
			got, err := app.app.Ping(l.ctx, commandLimit, userHost, 3)
			if err == nil && got.Received != got.Sent {
				err = fmt.Errorf("of %d echo requests %d were answered", got.Sent, got.Received)
			}
			return err
		})
	}
	l.step("boot", func(l *lab) {
		driver = l.bootShell(l.socket("vvu"), l.socket("vvu2"))
		l.must(driver.Send(fmt.Sprintf(`(/vvufwd --bind --vvu %s --nic %s --vvu %s --nic %s; echo "@@ exit" $?) &`,
			machine.VVUAddress(0), unplugNIC, machine.VVUAddress(1), staysNIC)))
		driver.see(l, "confined")
		driver.see(l, "ready for a front-end")
		l.switchOn(app)
		l.must(l.ready(app))
		l.must(app.app.Address(l.ctx, commandLimit, "10.0.2.100/24"))
		pings(l)
		var err error
		control, err = qmp.Dial(l.ctx, l.socket("driver-qmp"))
		l.must(err)
		l.atEnd(func() { control.Close() })
	})
	l.step("the kernel caches the memory of app VMs", func(l *lab) { l.memoryType(driver, "write-back") })
	l.step("the NIC is unplugged, and plugged in again", func(l *lab) {
		for range 2 {
			_, err := control.Execute(l.ctx, "device_del", map[string]any{"id": unplugID})
			l.must(err)
			driver.see(l, "asks for the device back", unplugNIC)
			if *unplugModel == virtioModel { // of the virtio half
				l.must(control.Await(l.ctx, "DEVICE_DELETED"))
			}
			l.must(control.Await(l.ctx, "DEVICE_DELETED"))
			device := map[string]any{"driver": *unplugModel, "id": unplugID, "netdev": "other", "bus": "rp", "romfile": ""}
			if *unplugModel == virtioModel {
				device["disable-legacy"], device["iommu_platform"] = "on", true
			}
			_, err = control.Execute(l.ctx, "device_add", device)
			l.must(err)
			driver.see(l, "the device is back", unplugNIC)
			pings(l)
		}
	})
	l.step("the NIC is reset ten times during a transfer", func(l *lab) { l.resetNIC(driver, app) })
	sysfs := "/sys/bus/pci/devices/" + machine.VVUAddress(0)
	l.step("the device of the app VM is removed, and found again", func(l *lab) {
		driver.do(l, "echo 1 > "+sysfs+"/remove")
		driver.do(l, "[ ! -e "+sysfs+" ] && echo 1 > /sys/bus/pci/rescan")
		driver.mark = 0
		driver.see(l, "asks for the device back", machine.VVUAddress(0))
		driver.see(l, "the device is back", machine.VVUAddress(0))
		pings(l)
	})
	l.step("its driver is unbound, and bound again", func(l *lab) {
		driver.mark = driver.Mark()
		bindings := "/sys/bus/pci/drivers/vfio-pci/"
		driver.do(l, "echo "+machine.VVUAddress(0)+" > "+bindings+"unbind")
		driver.do(l, "echo "+machine.VVUAddress(0)+" > "+bindings+"bind")
		driver.see(l, "the device is back", machine.VVUAddress(0))
		pings(l)
	})
	l.step("a vvudev ends", func(l *lab) {
		l.must(first.Kill())
		alive = driver.survives(l, "a device is gone", machine.VVUAddress(0))
	})
	if !alive {
		return // TestVvudevEnds tries again
	}
	l.step("the other one ends", func(l *lab) {
		l.must(second.Kill())
		if !driver.survives(l, "vvufwd: ", "the device is gone", machine.VVUAddress(1)) {
			return
		}
		if line := driver.see(l, "@@ exit"); !strings.HasSuffix(line, " 4") {
			l.Errorf("%q, want exit code 4", line)
		}
	})
}

// TestVvudevEnds kills vvudev under a driver VM whose /init is vvufwd: the machine says what has happened, with an exit code of its
// own, and is off, so that whoever supervises it starts both again.
func TestVvudevEnds(t *testing.T) {
	l := newLab(t)
	image := filepath.Join(l.out, "driver.cpio.gz")
	_, err := initramfs.Driver{Init: l.tools.Vvufwd, Modules: l.tools.Modules}.Save(image)
	l.must(err)
	boot := machine.Boot{QEMU: l.tools.QEMU, Kernel: l.tools.Kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256}
	driver := &driverShell{}
	for attempt := 1; ; attempt++ {
		vvu := l.socket(fmt.Sprint("vvu", attempt))
		device := l.device(l.ramFile(64), vvu, l.socket(fmt.Sprint("app", attempt)))
		argv := machine.Driver{Boot: boot, Sockets: []string{vvu}, InitArgs: []string{"--vvu", machine.VVUAddress(0), "--nic", machine.NICAddress}}.Argv()
		driver.mark = 0
		driver.Process, err = vm.Start(vm.Config{Name: "driver VM", Argv: argv, LogPath: filepath.Join(l.out, "driver.log")})
		l.must(err)
		process := driver.Process
		l.atEnd(func() { process.Close() })
		driver.see(l, "ready for a front-end")
		l.must(device.Kill())
		if driver.survives(l, "vvufwd: ", "the device is gone", machine.VVUAddress(0)) {
			break
		}
		if attempt == 5 {
			t.Fatal("QEMU aborted each time")
		}
	}
	driver.see(l, "vvufwd: exit code 4")
	select { // by itself or, as QEMU 11.1, by an abort on the way
	case <-driver.Done():
	case <-l.ctx.Done():
		l.Error("the machine is not off")
	}
	for _, line := range driver.Tail(4000) {
		if strings.Contains(line, "rules of its message queues") || strings.Contains(line, "restarting the device") {
			l.Errorf("it says %q", line)
		}
	}
}
