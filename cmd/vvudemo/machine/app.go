package machine

import (
	"fmt"
	"strings"
)

// Hardware addresses of the demo, locally administered.
const (
	NICMAC = "52:54:00:00:00:04" // of the driver VM's NIC
	AppMAC = "52:54:00:00:00:0a" // of the app VM
)

// App is the app VM: an ordinary guest with a virtio-net device.
type App struct {
	Boot
	// RAMFile is the file that is the VM's RAM, so that the back-end can map it. Unused when Direct is set.
	RAMFile string
	// Socket is the vhost-user socket it connects to. Unused when Direct is set.
	Socket string
	// NetOpts are more properties of the virtio-net device: "vectors=0".
	NetOpts string
	// Direct, when set, is the back-end of the device in place of vhost-user: the VM without a driver VM, to compare with.
	Direct *Backend
	// Pcap is the file that receives the frames of a Direct back-end.
	Pcap string
}

// Argv returns the command line.
func (a App) Argv() []string {
	args := a.argv()
	device := "virtio-net-pci,netdev=net,romfile=,mac=" + AppMAC
	if a.NetOpts != "" {
		device += "," + strings.Trim(a.NetOpts, ",")
	}
	if a.Direct != nil {
		args = append(args, "-machine", "q35", "-netdev", a.Direct.netdev("net"))
		if a.Pcap != "" {
			args = append(args, "-object", "filter-dump,id=dump,netdev=net,file="+quote(a.Pcap))
		}
		return append(args, "-device", device)
	}
	return append(args,
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,share=on,mem-path=%s", a.MemoryMiB, quote(a.RAMFile)),
		"-machine", "q35,memory-backend=ram",
		"-chardev", "socket,id=vhost,path="+quote(a.Socket),
		"-netdev", "vhost-user,id=net,chardev=vhost",
		"-device", device)
}
