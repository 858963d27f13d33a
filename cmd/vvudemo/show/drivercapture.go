package show

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/capture"
)

// The driver VM's virtio-serial ports: one by which what passes the app VM's port leaves, one at which what passes the NIC is read live,
// and one at which vvufwd answers.
const (
	framesPort  = "frames"
	livePort    = "live"
	controlPort = "ctl"
)

// driverPcap is what vvufwd captures itself.
func (d *demo) driverPcap() string { return d.out("driver.pcapng") }

// captureModules are the kernel modules that it takes in the driver VM: frames leave by a virtio-serial port.
func (c *Config) captureModules() []string {
	if !c.Capture {
		return nil
	}
	return []string{"virtio_pci", "virtio_console"}
}

// captureArgs are vvufwd's arguments.
func (c *Config) captureArgs() []string {
	if !c.Capture {
		return nil
	}
	nic := c.NICPort.InitArgs(c.NIC)
	return []string{
		"--modules", strings.Join(c.captureModules(), ","), "--capture", machine.VVUAddress(0) + "=virtio-serial:" + framesPort,
		"--capture", nic[len(nic)-1] + "=virtio-serial:" + livePort, "--control", "virtio-serial:" + controlPort + ",write",
	}
}

// serialPorts are these ports: a file for the first, sockets for the others.
func (d *demo) serialPorts() []machine.SerialPort {
	if !d.Capture {
		return nil
	}
	return []machine.SerialPort{
		{Name: framesPort, File: d.driverPcap()}, {Name: livePort, Socket: d.serialSocket(livePort)}, {Name: controlPort, Socket: d.serialSocket(controlPort)},
	}
}

// serialSocket is the host's end of a port.
func (d *demo) serialSocket(port string) string { return filepath.Join(d.run, port+".sock") }

// driverCapture reads back what vvufwd has captured: at least what it had counted before it was stopped, unless it says that it missed
// some.
func (d *demo) driverCapture(context.Context) (string, error) {
	c, err := capture.ReadDirections(d.driverPcap())
	if err != nil {
		return "", err
	}
	d.report.DriverCapture = c
	figure := fmt.Sprintf("%d frames from the app VM, %d to it, %d missed, in %s", c.In, c.Out, c.Missed, c.File)
	vvu, err := vvuPort(d.report.Ports)
	if err != nil || len(d.apps) > 1 {
		return figure, nil // no one has counted this one alone
	}
	if all := c.In + c.Out + c.Missed; all < vvu.RxPackets+vvu.TxPackets-vvu.Offloads.Pieces {
		return figure, fmt.Errorf("vvufwd counted %d frames from the app VM and %d to it, but captured and missed only %d", vvu.RxPackets, vvu.TxPackets, all)
	}
	return figure, nil
}
