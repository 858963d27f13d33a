package show

import (
	"context"
	"io"
	"time"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
)

// Config says what to show.
type Config struct {
	Tools *tools.Tools
	// Device is who provides the virtio-vhost-user device.
	Device machine.VVU
	// Shadow keeps the app VM's memory from the driver VM: vvudev --shadow.
	Shadow bool
	// VvudevArgs are more arguments of vvudev --shadow.
	VvudevArgs []string
	// OtherImage, when not empty, is the driver VM's RAM disk, in which something else than vvufwd forwards, to compare with; its console
	// says OtherReady when it does. For RunBench only.
	OtherImage, OtherReady string
	// Direct gives the app VM the network without a driver VM, to compare with.
	Direct bool
	// AppVMs is the number of app VMs. With more than one, vvufwd is a switch. 0 means one.
	AppVMs int
	// Isolate keeps several app VMs from each other.
	Isolate bool
	// NIC is what kind of NIC the driver VM has.
	NIC machine.NIC
	// NICPort is who drives it.
	NICPort machine.NICPort
	// Newest gives the driver VM the newest kernel, whose drivers of virtio-net and igb have AF_XDP's zero copy.
	Newest bool
	// NICOpts are more properties of the driver VM's NIC.
	NICOpts string
	// NICQueues is the number of the NIC's queue pairs, with a TAP device; 0 means one.
	NICQueues int
	// MTU, in bytes, is that of a TAP device that is made. 0 means 1500.
	MTU int
	// IOMMU is what confines the driver VM's devices.
	IOMMU machine.IOMMU
	// AppNetOpts are more properties of the app VM's virtio-net device.
	AppNetOpts string
	// App is how the app VM's network device is set up at first, and Again how when it is started again afterwards, with the same
	// driver VM. With several queue pairs there, several of the NIC's are to carry frames.
	App   AppSetup
	Again []AppSetup
	// ForwarderArgs are more arguments of vvufwd.
	ForwarderArgs []string
	// TAP is the TAP device behind the NIC. Empty means QEMU's user networking.
	TAP string
	// Transfer is the size of the download and of the upload. 0: TransferBytes.
	Transfer int64
	// Frames is how many the app VM's kernel packet generator sends. 0: none.
	Frames int64
	// Capture has vvufwd itself capture what passes between it and the app VM, or the first of several.
	Capture bool
	// Bench, when not nil, is a measurement, over a TAP device.
	Bench *Bench
	// Idle is how long the machines are left alone, to see what they cost then. 0: not at all.
	Idle time.Duration
	// Restarts is how often the app VM is killed under load and started again.
	Restarts int
	// Rebinds is how often the app VM's guest takes its network device from the driver and gives it back.
	Rebinds int
	// Accel is "tcg" or "kvm".
	Accel string
	// SMP is the number of the driver VM's processors. vvufwd's loop occupies one as long as frames come.
	SMP int
	// Keep, when not nil, is waited for before the machines are powered off.
	Keep func(ctx context.Context) error
	// OutDir receives images, console logs and the capture.
	OutDir string
	// Progress gets timed lines for a person to read.
	Progress io.Writer
	// Console, when not nil, gets every console line of every machine.
	Console io.Writer
}

// hardware reports whether the driver VM's kernel must have drivers of hardware.
func (c *Config) hardware() bool {
	return c.NIC == machine.IGBVF || c.NICPort.OfKernel() && c.NIC.Hardware()
}

// counted reports whether vvufwd forwards, and counts.
func (c *Config) counted() bool { return !c.Direct && c.OtherImage == "" }

// transferBytes is the size of the download and of the upload.
func (c *Config) transferBytes() int64 {
	if c.Transfer == 0 {
		return TransferBytes
	}
	return c.Transfer
}

// nicQueues is the number of the NIC's queue pairs: QEMU's user networking has one.
func (c *Config) nicQueues() int {
	if c.TAP == "" {
		return 1
	}
	return max(1, c.NICQueues)
}

// transferLimit is how long each of them may take.
func (c *Config) transferLimit() time.Duration {
	return commandLimit * time.Duration(max(1, c.transferBytes()/TransferBytes))
}

// Sizes and limits of the demo.
const (
	// TransferBytes is the size of the download and of the upload, unless told otherwise.
	TransferBytes = 16 << 20
	// MaxTransferBytes is the most that the app VM's memory has room for.
	MaxTransferBytes = 64 << 20
	// PingCount is the number of echo requests.
	PingCount = 20

	driverMemoryMiB = 256
	appMemoryMiB    = 256

	bootLimit    = vm.BootLimit
	commandLimit = vm.CommandLimit
	stallLimit   = time.Minute // without a single frame of the packet generator
	stopLimit    = vm.StopLimit
)
