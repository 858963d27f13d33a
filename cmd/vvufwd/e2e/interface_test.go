package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/qmp"
	"vvufwd/cmd/internal/lab/vm"
)

// kernelInterfaces is for "make matrix": starts of vvufwd with modules, and a machine of its own for them, take two minutes.
var kernelInterfaces = flag.Int("interface-starts", 0, "try what interfaces of a driver VM's kernel go through, and start vvufwd `N` times with their modules")

// wire is what a NIC of a machine is connected to: two sockets for datagrams, each of which is a frame.
type wire struct {
	*net.UnixConn
	qemu *net.UnixAddr
}

// newWire makes one, and QEMU's argument for its end.
func (l *lab) newWire(name string) (*wire, string) {
	l.Helper()
	ours := &net.UnixAddr{Name: l.socket(name + "-ours"), Net: "unixgram"}
	w := &wire{qemu: &net.UnixAddr{Name: l.socket(name), Net: "unixgram"}}
	var err error
	w.UnixConn, err = net.ListenUnixgram("unixgram", ours)
	l.must(err)
	l.atEnd(func() { w.Close() })
	return w, fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", name, w.qemu.Name, ours.Name)
}

// passes waits until frames pass from one wire to the other.
func (l *lab) passes(from, to *wire) {
	l.Helper()
	frame := append([]byte{0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, 1000)...)
	got := make([]byte, 70<<10)
	number := byte(0)
	l.eventually(func() error {
		number++
		frame[len(frame)-1] = number
		if _, err := from.WriteToUnix(frame, from.qemu); err != nil {
			return err
		}
		for end := time.Now().Add(200 * time.Millisecond); ; {
			l.must(to.SetReadDeadline(end))
			n, err := to.Read(got)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errors.New("no frame passes")
			}
			l.must(err)
			if bytes.Equal(got[:n], frame) {
				return nil
			}
		}
	})
}

// TestInterfacesComeAndGo has a vvufwd that is all of a driver VM's user space load the kernel's driver of two NICs, and takes
// their interfaces through what interfaces go through: unplugged, renamed, suspended. vvufwd, which is confined, follows them, and
// leaves nothing behind.
func TestInterfacesComeAndGo(t *testing.T) {
	if *kernelInterfaces == 0 {
		t.Skip("skipped: it is a part of make matrix")
	}
	l := newLab(t)
	image := filepath.Join(l.out, "driver.cpio.gz")
	_, err := initramfs.Driver{
		Init: l.tools.Vvufwd, Modules: l.tools.Modules, Busybox: l.tools.Busybox, MoreModules: []string{"virtio_pci", "virtio_net"},
	}.Save(image)
	l.must(err)
	fixed, fixedNet := l.newWire("fixed")
	plugged, pluggedNet := l.newWire("plugged")
	boot := machine.Boot{QEMU: l.tools.QEMU, Kernel: l.tools.Kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256}
	device := map[string]any{"driver": virtioModel, "id": unplugID, "netdev": "plugged", "bus": "rp", "romfile": "", "disable-legacy": "on", "iommu_platform": true}
	argv := append(machine.Driver{Boot: boot}.Argv(),
		"-qmp", "unix:"+l.socket("qmp")+",server=on,wait=off",
		"-device", "pcie-root-port,id=rp,chassis=1,addr=8",
		"-netdev", fixedNet, "-device", virtioModel+",netdev=fixed,romfile=,addr=6,disable-legacy=on,iommu_platform=on",
		"-netdev", pluggedNet, "-device", virtioModel+",id="+unplugID+",netdev=plugged,romfile=,bus=rp,disable-legacy=on,iommu_platform=on")
	driver := &driverShell{}
	driver.Process, err = vm.Start(vm.Config{Name: "driver VM", Argv: argv, Env: boot.QEMU.Env, LogPath: filepath.Join(l.out, "driver.log")})
	l.must(err)
	l.atEnd(func() { driver.Close() })
	driver.see(l, "@@ ready")
	control, err := qmp.Dial(l.ctx, l.socket("qmp"))
	l.must(err)
	l.atEnd(func() { control.Close() })
	// In the order of the bus: eth0 is the lab's own.
	const forwarder = "VVUFWD_SUPERVISED=1 /vvufwd --modules virtio_pci,virtio_net --port packet:eth1 --nic eth2"
	passes := func(l *lab) {
		l.Helper()
		l.passes(fixed, plugged)
		l.passes(plugged, fixed)
	}
	l.step("start", func(l *lab) {
		driver.do(l, forwarder+" & FWD=$!")
		driver.mark = 0
		driver.see(l, "the interface stays with its kernel driver", "eth2", "packet")
		driver.see(l, "confined")
		passes(l)
	})
	l.step("unplugged and plugged in", func(l *lab) {
		for range 2 {
			driver.mark = driver.Mark()
			_, err := control.Execute(l.ctx, "device_del", map[string]any{"id": unplugID})
			l.must(err)
			driver.see(l, "the interface is gone", "eth2")
			l.must(control.Await(l.ctx, "DEVICE_DELETED")) // of the virtio half
			l.must(control.Await(l.ctx, "DEVICE_DELETED"))
			_, err = control.Execute(l.ctx, "device_add", device)
			l.must(err)
			driver.see(l, "the interface is back", "eth2")
			passes(l)
		}
	})
	l.step("renamed", func(l *lab) {
		driver.do(l, "ip link set eth1 down && ip link set eth1 name lan && ip link set lan up")
		passes(l)
		driver.do(l, "ip link set lan down && ip link set lan name eth1 && ip link set eth1 up")
		passes(l)
	})
	l.step("suspended", func(l *lab) {
		for range 2 {
			l.must(driver.Send("echo mem > /sys/power/state"))
			l.must(control.Await(l.ctx, "SUSPEND"))
			_, err := control.Execute(l.ctx, "system_wakeup", nil)
			l.must(err)
			passes(l)
		}
	})
	l.step("end", func(l *lab) {
		driver.mark = driver.Mark()
		driver.do(l, `kill $FWD; wait $FWD; echo "@@ exit" $?`)
		driver.mark = 0
		driver.see(l, "@@ exit 0")
	})
	l.step("started and ended again and again", func(l *lab) {
		driver.mark = driver.Mark()
		driver.do(l, fmt.Sprintf(`n=0; while [ $n -lt %d ]; do n=$((n+1)); %s 2> /fwd.log & FWD=$!; usleep $((n %% 20 * 30000)); kill -$((n %% 2 * 6 + 9)) $FWD; wait $FWD; done`,
			*kernelInterfaces, forwarder))
		// Who is killed with SIGKILL takes the process with it that sets interfaces up.
		driver.do(l, `n=0; while pidof vvufwd exe vvufwd-upkeep && [ $n -lt 100 ]; do n=$((n+1)); usleep 100000; done; echo "@@ left:" $(pidof vvufwd exe) $(($(cat /proc/net/packet | wc -l) - 1)) $(($(cat /sys/class/net/eth1/flags) & 0x100)) $(($(cat /sys/class/net/eth2/flags) & 0x100))`)
		driver.mark = 0
		driver.see(l, "@@ left: 0 0 0")
	})
}
