package vfio

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMSIX(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	if d.MSIXCount() != 4 {
		t.Errorf("%d vectors", d.MSIXCount())
	}
	if d.Vector(0) != -1 {
		t.Error("a vector before EnableMSIX")
	}
	if err := d.EnableMSIX(3); err != nil {
		t.Fatal(err)
	}
	// The kernel signals vector 1 twice.
	for range 2 {
		if _, err := unix.Write(m.kernel.vectors[1], binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for vector, want := range []uint64{0, 2, 0} {
		if got, err := d.TakeVector(vector); err != nil || got != want {
			t.Errorf("vector %d: %d interrupts, %v; want %d", vector, got, err, want)
		}
	}
	if got, err := d.TakeVector(1); err != nil || got != 0 {
		t.Errorf("taken already, and still %d, %v", got, err)
	}
	if d.Vector(3) != -1 || d.Vector(-1) != -1 {
		t.Error("more vectors than enabled")
	}
	if _, err := d.TakeVector(3); err == nil {
		t.Error("a vector that is not enabled can be taken")
	}
	if err := d.EnableMSIX(1); err == nil {
		t.Error("enabled twice")
	}
	if err := d.DisableMSIX(); err != nil {
		t.Fatal(err)
	}
	if d.Vector(0) != -1 {
		t.Error("a vector after DisableMSIX")
	}
	if err := d.DisableMSIX(); err != nil {
		t.Errorf("second DisableMSIX: %v", err)
	}
	if err := d.EnableMSIX(4); err != nil {
		t.Errorf("enable again: %v", err)
	}
}

func TestMSIXRefused(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	for _, n := range []int{0, -1, 5} {
		if err := d.EnableMSIX(n); err == nil {
			t.Errorf("%d vectors", n)
		}
	}
	before := countFiles()
	m.kernel.setIRQsErr = unix.ENOSPC
	if err := d.EnableMSIX(4); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error: %v", err)
	}
	m.kernel.setIRQsErr = unix.ENODEV
	if err := d.EnableMSIX(4); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "0000:00:04.0: enable 4 MSI-X vectors: ") || !strings.Contains(err.Error(), "intremap=off") {
		t.Errorf("error: %v", err)
	}
	m.kernel.setIRQsErr, m.kernel.setIRQs = nil, 2
	if err := d.EnableMSIX(4); err == nil {
		t.Error("the kernel has two vectors, and four are enabled")
	}
	if after := countFiles(); after != before {
		t.Errorf("%d file descriptors leaked", after-before)
	}
	if d.Vector(0) != -1 {
		t.Error("a failure left vectors")
	}
}

func TestCloseDisablesMSIX(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	if err := d.EnableMSIX(4); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if last := m.kernel.calls[len(m.kernel.calls)-1]; last != "disable vectors of kind 2" {
		t.Errorf("last call: %s", last)
	}
}
