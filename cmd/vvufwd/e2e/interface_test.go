package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/qmp"
	"vvufwd/cmd/internal/lab/vm"
)

// kernelInterfaces is how often vvufwd is started with modules; "make matrix" wants more.
var kernelInterfaces = flag.Int("interface-starts", 4, "start vvufwd `N` times with modules in a driver VM, and end it, every other time by force")

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

// frames are those that were sent over wires so far.
var frames atomic.Uint64

// passes waits until frames of n bytes pass from one wire to the other.
func (l *lab) passes(from, to *wire, n int) {
	l.Helper()
	frame := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(frame)
	copy(frame, []byte{0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x88, 0xb5})
	got := make([]byte, 70<<10)
	l.eventually(func() error {
		binary.BigEndian.PutUint64(frame[len(frame)-8:], frames.Add(1)) // no two are the same: none is an old one
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

// interfaceVM is a driver VM with two NICs that its kernel drives, each of which is connected to a wire. It has one more NIC,
// the lab's own, which is eth0.
type interfaceVM struct {
	*driverShell
	control      *qmp.Client
	fixed, other *wire // of eth1 and eth2
}

// forwardInterfaces is the command line of a vvufwd that is to behave as if it were /init. Its driver is loaded by the first.
const forwardInterfaces = "VVUFWD_SUPERVISED=1 /vvufwd --modules virtio_pci,virtio_net --port packet:eth1 --nic eth2"

// bootInterfaces boots it, with the other NIC behind a root port, so that it can be unplugged. vvufwd runs in it then, confined, and
// forwards.
func (l *lab) bootInterfaces() *interfaceVM {
	l.Helper()
	// Of a TAP device, which is made, frames come joined, and this one's driver can do nothing about it.
	v := l.bootNICs(l.tools.Kernel, l.tools.Modules, []string{"virtio_pci", "virtio_net"}, virtioModel,
		"-device", "pcie-root-port,id=rp2,chassis=2,addr=9", "-netdev", "tap,id=joined,ifname=joined,script=no,downscript=no",
		"-device", virtioModel+",netdev=joined,romfile=,bus=rp2,disable-legacy=on,iommu_platform=on,ctrl_guest_offloads=off")
	v.do(l, forwardInterfaces+" & FWD=$!")
	v.mark = 0
	v.see(l, "the interface stays with its kernel driver", "eth2")
	v.see(l, "confined")
	v.passes(l)
	return v
}

// bootNICs boots such a machine with a kernel and modules of it, and a shell. The other NIC is of a model that may be another one. What
// more QEMU is told is for a network namespace of its own.
func (l *lab) bootNICs(kernel string, tree *kmod.Tree, modules []string, model string, more ...string) *interfaceVM {
	l.Helper()
	image := filepath.Join(l.out, "driver.cpio.gz")
	_, err := initramfs.Driver{Init: l.tools.Vvufwd, Modules: tree, Busybox: l.tools.Busybox, MoreModules: modules}.Save(image)
	l.must(err)
	v := &interfaceVM{driverShell: &driverShell{}}
	fixed, fixedNet := l.newWire("fixed")
	other, otherNet := l.newWire("other")
	v.fixed, v.other = fixed, other
	const virtioNIC = virtioModel + ",disable-legacy=on,iommu_platform=on"
	otherNIC := model
	if model == virtioModel {
		otherNIC = virtioNIC
	}
	boot := machine.Boot{QEMU: l.tools.QEMU, Kernel: kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256}
	argv := append(machine.Driver{Boot: boot}.Argv(), "-qmp", "unix:"+l.socket("qmp")+",server=on,wait=off",
		"-netdev", fixedNet, "-device", virtioNIC+",netdev=fixed,romfile=,addr=6",
		"-device", "pcie-root-port,id=rp,chassis=1,addr=8",
		"-netdev", otherNet, "-device", otherNIC+",id="+unplugID+",netdev=other,romfile=,bus=rp")
	if len(more) > 0 {
		argv = append(append([]string{"unshare", "--net"}, argv...), more...)
	}
	v.Process, err = vm.Start(vm.Config{Name: "driver VM", Argv: argv, LogPath: filepath.Join(l.out, "driver.log")})
	l.must(err)
	l.atEnd(func() { v.Close() })
	v.see(l, "@@ ready")
	v.control, err = qmp.Dial(l.ctx, l.socket("qmp"))
	l.must(err)
	l.atEnd(func() { v.control.Close() })
	return v
}

// passes waits until frames pass both ways.
func (v *interfaceVM) passes(l *lab) {
	l.Helper()
	v.passAll(l, 1014)
}

// passAll does so with frames of several lengths.
func (v *interfaceVM) passAll(l *lab, lengths ...int) {
	l.Helper()
	for _, n := range lengths {
		l.passes(v.fixed, v.other, n)
		l.passes(v.other, v.fixed, n)
	}
}

// end stops vvufwd, which must find nothing wrong.
func (v *interfaceVM) end(l *lab) {
	l.Helper()
	mark := v.Mark()
	v.do(l, `kill $FWD; wait $FWD; echo "@@ exit" $?`)
	v.mark = mark
	v.see(l, "@@ exit 0")
}

// TestInterfacesComeAndGo has a vvufwd that is all of a driver VM's user space load the kernel's driver of two NICs, and
// takes their interfaces away, gives them back, and renames them. vvufwd, which is confined, follows them. It
// leaves nothing behind, however it ends.
func TestInterfacesComeAndGo(t *testing.T) {
	l := newLab(t)
	var v *interfaceVM
	l.step("boot", func(l *lab) { v = l.bootInterfaces() })
	l.step("unplugged and plugged in", func(l *lab) {
		for range 2 {
			v.mark = v.Mark()
			_, err := v.control.Execute(l.ctx, "device_del", map[string]any{"id": unplugID})
			l.must(err)
			v.see(l, "the interface is gone", "eth2")
			l.must(v.control.Await(l.ctx, "DEVICE_DELETED")) // of the virtio half
			l.must(v.control.Await(l.ctx, "DEVICE_DELETED"))
			_, err = v.control.Execute(l.ctx, "device_add", map[string]any{
				"driver": virtioModel, "id": unplugID, "netdev": "other", "bus": "rp", "romfile": "", "disable-legacy": "on", "iommu_platform": true,
			})
			l.must(err)
			v.see(l, "the interface is back", "eth2")
			v.passes(l)
		}
	})
	l.step("renamed", func(l *lab) {
		v.do(l, "ip link set eth1 down && ip link set eth1 name lan && ip link set lan up")
		v.passes(l)
		v.do(l, "ip link set lan down && ip link set lan name eth1 && ip link set eth1 up")
		v.passes(l)
	})
	l.step("end", v.end)
	l.step("a driver refuses XDP", func(l *lab) {
		v.do(l, `ip link set eth3 up; /vvufwd --vhost-user /a --port xdp:eth3,mode=copy; echo "@@ exit" $?`)
		v.mark = 0
		v.see(l, "vvufwd: --port xdp:eth3,mode=copy: interface eth3: mode=copy: attach an XDP program: ", "GRO_HW/CSUM",
			": the host joins what eth3 receives", "ctrl_guest_offloads")
		v.see(l, "@@ exit 3")
	})
	l.step("started and ended again and again", func(l *lab) {
		for n := range *kernelInterfaces {
			signal := []string{"TERM", "KILL"}[n%2]
			v.do(l, fmt.Sprintf(`%s 2> /fwd.log & FWD=$!; usleep %d; kill -%s $FWD; wait $FWD`, forwardInterfaces, n%20*30000, signal))
		}
		// Of one that is killed with SIGKILL the process that sets interfaces up ends a moment later.
		v.do(l, `n=0; while pidof vvufwd exe && [ $n -lt 100 ]; do n=$((n+1)); usleep 100000; done; echo "@@ left:" $(pidof vvufwd exe) $(($(cat /proc/net/packet | wc -l) - 1)) $(($(cat /sys/class/net/eth1/flags) & 0x100)) $(($(cat /sys/class/net/eth2/flags) & 0x100))`)
		v.mark = 0
		v.see(l, "@@ left: 0 0 0")
	})
}
