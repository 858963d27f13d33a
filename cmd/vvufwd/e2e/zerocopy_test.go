package e2e

import (
	"flag"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/tools"
)

var (
	zeroCopyNIC = flag.String("zero-copy-nic", virtioModel, "the second NIC with zero copy: virtio-net-pci or igb, which takes a kernel with drivers for hardware")
	suspends    = flag.Bool("suspend", false, "suspend a machine to RAM that has interfaces with XDP programs")
)

// TestZeroCopy has a vvufwd that is all of a driver VM's user space join two interfaces whose NICs read and write its buffers themselves, by
// AF_XDP's zero copy, which takes a newer kernel than other tests boot. Frames pass by content both ways, also after the MTU was
// lowered and raised again, which not every driver does with an XDP program.
func TestZeroCopy(t *testing.T) {
	l := newLab(t)
	igb := *zeroCopyNIC != virtioModel
	found, err := tools.Find(l.ctx, tools.Options{BuildDir: l.build, NeedNewest: !igb, NeedNewestHardware: igb, Progress: func(text string) { l.Log(text) }})
	l.must(err)
	kernel, tree, modules := found.NewestKernel, found.NewestModules, []string{"virtio_net"}
	if igb {
		kernel, tree, modules = found.NewestFullKernel, found.NewestFullModules, append(modules, "igb")
	}
	var v *interfaceVM
	forward := func(l *lab, ports string) {
		l.Helper()
		mark := v.Mark()
		v.do(l, "VVUFWD_SUPERVISED=1 /vvufwd --modules "+strings.Join(modules, ",")+" "+ports+" & FWD=$!")
		v.mark = mark
	}
	const both = "--port xdp:eth1,mode=zerocopy,mtu=3000 --port xdp:eth2,mode=zerocopy,mtu=3000"
	lengths := []int{60, 64, 1023, 1024, 1025, 1514, 3014}
	l.step("boot", func(l *lab) {
		v = l.bootNICs(kernel, tree, modules, *zeroCopyNIC)
		forward(l, both)
		v.see(l, "an interface is open", `"xdp:eth1"`, "zero copy")
		v.see(l, "an interface is open", `"xdp:eth2"`, "zero copy")
		v.see(l, "confined")
	})
	l.step("by content", func(l *lab) { v.passAll(l, lengths...) })
	l.step("MTU lowered and raised", func(l *lab) {
		v.do(l, "ip link set eth1 mtu 1000 && ip link set eth2 mtu 1000")
		v.passAll(l, 64, 1014)
		mark := v.Mark()
		v.do(l, `ip link set eth1 mtu 3000; ip link set eth2 mtu 3000; echo "@@ MTUs" $(cat /sys/class/net/eth1/mtu) $(cat /sys/class/net/eth2/mtu)`)
		v.mark = mark
		if !igb {
			v.see(l, "@@ MTUs 3000 3000")
			v.passAll(l, lengths...)
			return
		}
		v.see(l, "@@ MTUs 3000 1000") // igb wants its large buffers to be there before the program
		v.passAll(l, 64, 1014)
	})
	l.step("end", v.end)
	if igb {
		l.step("started again", func(l *lab) {
			forward(l, both)
			v.passAll(l, lengths...)
			v.end(l)
		})
	}
	if *suspends {
		l.step("suspended with native programs", func(l *lab) {
			forward(l, "--port xdp:eth1,mode=copy --port xdp:eth2,mode=copy")
			v.passes(l)
			v.suspend(l)
			v.passes(l)
			v.end(l)
		})
	}
}

// suspend has the machine suspended to RAM, and resume.
func (v *interfaceVM) suspend(l *lab) {
	l.Helper()
	v.mark = v.Mark()
	l.must(v.Send(`echo mem > /sys/power/state; echo "@@ slept" $?`))
	l.must(v.control.Await(l.ctx, "SUSPEND"))
	time.Sleep(2500 * time.Millisecond) // for which long the kernel knows by a clock of seconds
	_, err := v.control.Execute(l.ctx, "system_wakeup", nil)
	l.must(err)
	v.see(l, "@@ slept 0")
}
