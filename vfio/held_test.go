package vfio

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// TestStopDMA clears the one bit, and says so if it does not go.
func TestStopDMA(t *testing.T) {
	m := bareMachine(t)
	k := m.kernel
	k.poke(t, uapi.PCIConfigRegion, pci.OffsetCommand, 0x47, 0x01)
	m.check(stopDMA(m.calls(), k.device))
	if got := k.peek(t, uapi.PCIConfigRegion, pci.OffsetCommand, 2); !slices.Equal(got, []byte{0x43, 0x01}) {
		t.Errorf("the command register became % x", got)
	}
	m.check(stopDMA(m.calls(), k.device)) // it is stopped already
	k.poke(t, uapi.PCIConfigRegion, pci.OffsetCommand, 0xff, 0xff)
	m.check(stopDMA(m.calls(), k.device)) // it is gone
	if got := k.peek(t, uapi.PCIConfigRegion, pci.OffsetCommand, 2); !slices.Equal(got, []byte{0xff, 0xff}) {
		t.Errorf("a device that is gone was written to: % x", got)
	}
	k.poke(t, uapi.PCIConfigRegion, pci.OffsetCommand, 0x06, 0)
	readOnly, err := unix.Open("/proc/self/fd/"+strconv.Itoa(k.device), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	m.check(err)
	if err := stopDMA(m.calls(), readOnly); err == nil || !strings.Contains(err.Error(), "bus master bit stays set (command register 0x0006)") {
		t.Errorf("a bit that stays: %v", err)
	}
	m.check(unix.Close(readOnly))
	k.regions[uapi.PCIConfigRegion] = fakeRegion{}
	if err := stopDMA(m.calls(), k.device); err == nil {
		t.Error("a device without configuration space was stopped")
	}
}

// TestHeld names the files of all functions, and of none.
func TestHeld(t *testing.T) {
	m := bareMachine(t)
	bare, err := m.openBare(function7, function8)
	m.check(err)
	h := bare.Held()
	if len(h.Devices) != 2 || h.Devices[function7] == h.Devices[function8] || h.Memory != int(bare.pages.File().Fd()) {
		t.Errorf("%+v", h)
	}
	c, err := m.containerWith(bare)
	m.check(err)
	if _, err := os.Stat("/proc/self/fd/" + strconv.Itoa(h.Devices[function7])); err != nil {
		t.Errorf("the container has other files: %v", err)
	}
	m.check(c.Close())
	if h := (*Bare)(nil).Held(); len(h.Devices) > 0 {
		t.Errorf("%+v", h)
	}
}

// TestStoppedBeforeItsMemoryGoes: however a container ends, devices are stopped and closed
// first.
func TestStoppedBeforeItsMemoryGoes(t *testing.T) {
	m := bareMachine(t)
	bare, err := m.openBare(function7)
	m.check(err)
	c, err := m.containerWith(bare)
	m.check(err)
	d, err := c.Open(function7)
	m.check(err)
	mem, err := d.Arena().Alloc(4096, 4096)
	m.check(err)
	m.check(d.EnableBusMaster())
	memory := c.pages.File()
	m.kernel.onDisable = func() {
		mem.Bytes[0] = 1 // a fault if it is gone
		if _, err := memory.Stat(); err != nil {
			t.Errorf("the memory has gone before the device: %v", err)
		}
		if uint16(m.kernel.peek(t, uapi.PCIConfigRegion, pci.OffsetCommand, 1)[0])&pci.CommandBusMaster != 0 {
			t.Error("the device still does DMA")
		}
		m.kernel.note("stopped")
	}
	m.check(d.EnableMSIX(1))
	m.check(c.Close())
	if !slices.Contains(m.kernel.calls, "stopped") {
		t.Error("the device was not stopped")
	}
	if _, err := memory.Stat(); err == nil {
		t.Error("the memory is kept")
	}
}

// TestGiveBack gives functions back to their drivers, closed, once.
func TestGiveBack(t *testing.T) {
	m := bareMachine(t)
	open := countFiles()
	bare, err := m.openBare(function7)
	m.check(err)
	dir := "bus/pci/devices/0000:00:07.0/"
	m.write(m.sys, dir+"driver_override", "vfio-pci\n")
	m.write(m.sys, "bus/pci/drivers/vfio-pci/unbind", "")
	m.write(m.sys, "bus/pci/drivers_probe", "")
	bare.Bindings = []pci.Binding{{Function: function7, Changed: true}}
	m.check(bare.GiveBack())
	m.check(bare.GiveBack())
	if n := countFiles(); n != open {
		t.Errorf("%d files are open, want %d", n, open)
	}
	for path, want := range map[string]string{dir + "driver_override": "\n", dir + "driver/unbind": "0000:00:07.0", "bus/pci/drivers_probe": "0000:00:07.0"} {
		if got, err := os.ReadFile(m.sys + "/" + path); string(got) != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	m.check((*Bare)(nil).GiveBack())
}
