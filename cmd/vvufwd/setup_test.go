package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/confine"
	"vvufwd/netfwd/nic"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// A function that only the kernel has a driver for is found before anything is bound; what is wrong otherwise with
// one is left to others.
func TestNICsWithoutDriver(t *testing.T) {
	missing := portSpec{kind: "nic", addr: pci.Address{Domain: 0xffff, Device: 4}}
	if err := (&options{ports: []portSpec{missing}}).checkNICs(); err != nil {
		t.Errorf("a function that does not exist: %v", err)
	}
	all, err := pci.Sysfs{}.List()
	if err != nil {
		t.Skipf("skipped: this machine does not list its PCI functions: %v", err)
	}
	i := slices.IndexFunc(all, func(f pci.Info) bool {
		_, err := nics.Choose(f)
		return err != nil
	})
	if i < 0 {
		t.Skip("skipped: this machine has no PCI function but NICs that are known")
	}
	unknown := portSpec{kind: "nic", addr: all[i].Address}
	if err := (&options{ports: []portSpec{missing, unknown}}).checkNICs(); !errors.Is(err, nic.ErrNoDriver) {
		t.Errorf("%v: %v", unknown, err)
	}
	if err := (&options{ports: []portSpec{{kind: "vvu", addr: all[i].Address}, {kind: "e1000e", addr: all[i].Address}}}).checkNICs(); err != nil {
		t.Errorf("a function that is named as something else: %v", err)
	}
}

// TestStopsBinding: a signal that comes while functions are bound is heeded before the next one, and is no failure.
func TestStopsBinding(t *testing.T) {
	missing := pci.Address{Domain: 0xffff, Device: 4}
	o := &options{bind: true, privileged: true, ports: []portSpec{{kind: "nic", addr: missing}, {kind: "nic", addr: missing}}}
	if b, err := o.bindFunctions(func() bool { return true }); len(b) > 0 || !errors.Is(err, confine.ErrStopped) {
		t.Errorf("%v, %v", b, err)
	}
	if _, err := o.bindFunctions(func() bool { return false }); !errors.Is(err, pci.ErrNoDevice) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := forward(ctx, o, zap.NewNop(), io.Discard); err != nil {
		t.Error(err)
	}
}

// TestGivesBareBack: functions are given back also if it ends before it forwards.
func TestGivesBareBack(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nothing"))
	missing := pci.Binding{Function: pci.Address{Domain: 0xffff, Device: 4}, Changed: true}
	o := &options{privileged: true, bare: &vfio.Bare{Bindings: []pci.Binding{missing}}}
	err := withAllPrivileges(o, zap.NewNop(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "return ffff:00:04.0 to its driver") {
		t.Errorf("it ends with %v", err)
	}
}

// As /init interfaces do not keep functions from being bound, and modules are what is named.
func TestInitFlags(t *testing.T) {
	o, err := parseFlags([]string{"--vvu=00:05.0", "--modules", "e1000e,virtio_net", "--nic=eth0", "--modules=tun"}, true, os.Stderr)
	if err != nil || !o.bind || !slices.Equal(o.modules, []string{"e1000e", "virtio_net", "tun"}) || o.ports[1].iface != "eth0" || !o.ports[1].uplink() {
		t.Errorf("%+v, %v", o, err)
	}
	if o.hugePages != hugePagesAnyway {
		t.Errorf("%d huge pages for an interface, which needs none", o.hugePages)
	}
	for want, arg := range map[string]string{
		"such as e1000e,virtio_net": "--modules=kernel/e1000e.ko", "names of modules": "--modules=,", "takes no name": "--bind=eth0",
	} {
		if _, err := parseFlags([]string{"--vvu=00:05.0", "--nic=eth0", arg}, true, os.Stderr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", arg, err, want)
		}
	}
	if o, err = parseFlags([]string{"--vvu=00:05.0", "--nic=eth0", "--bind=false"}, true, os.Stderr); err != nil || o.bind {
		t.Errorf("%+v, %v", o, err)
	}
}
