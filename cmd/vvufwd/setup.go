package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/vvufwd/appliance"
	"vvufwd/cmd/vvufwd/upkeep"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/nic"
	"vvufwd/vfio/pci"
)

// initFlags defines the flags about who drives devices.
func (o *options) initFlags(fs *flag.FlagSet, asInit bool) {
	o.bind = asInit
	fs.BoolFunc("bind", fmt.Sprintf("bind the named functions to vfio-pci, and back at the end; interfaces stay with their drivers (default %t)", asInit), func(s string) error {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return bindsNoName(s)
		}
		o.bind, o.bindAsked = v, v
		return nil
	})
	fs.Func("modules", "as /init: load these kernel modules and what they depend on, `NAMES` such as e1000e,virtio_net, for interfaces", func(s string) error {
		if !asInit {
			return errors.New("vvufwd loads modules only as /init: modprobe " + strings.ReplaceAll(s, ",", " "))
		}
		for name := range strings.SplitSeq(s, ",") {
			if name == "" || strings.ContainsAny(name, "/. \t\n") {
				return errors.New("want names of modules such as e1000e,virtio_net, without directories and .ko")
			}
			o.modules = append(o.modules, name)
		}
		return nil
	})
}

// bindsNoName is the error for a name after --bind.
func bindsNoName(name string) error {
	function := "0000:00:04.0"
	if f, ok := behind(name); ok {
		function = f.String()
	}
	return fmt.Errorf("it takes no name, and binds the functions that ports name: --nic %s --bind takes that from its kernel driver, --nic INTERFACE without --bind leaves it there", function)
}

// checkBind refuses --bind if there is nothing to bind, such as an interface that stays with its driver.
func (o *options) checkBind() error {
	if !o.bindAsked || slices.ContainsFunc(o.ports, portSpec.onPCI) {
		return nil
	}
	i := slices.IndexFunc(o.ports, func(p portSpec) bool { return p.onInterface() && p.kind == "nic" })
	if i < 0 {
		return cli.Usagef("--bind: no port is a PCI function that could be bound: leave it out")
	}
	p := o.ports[i]
	if f, ok := behind(p.iface); ok {
		return cli.Usagef("%s --bind: an interface stays with its kernel driver; to take it from there name the function behind it, --nic %v --bind, else leave --bind out", p.flag, f)
	}
	return cli.Usagef("%s --bind: an interface stays with its kernel driver, and no PCI function is behind this one: leave --bind out", p.flag)
}

// checkNICs finds NICs on PCI for which there is no driver, while the kernel's still has them: it
// tells what to use instead. What is wrong otherwise comes up when they are opened.
func (o *options) checkNICs() error {
	for _, p := range o.ports {
		if !p.onPCI() || !p.uplink() {
			continue
		}
		if _, err := driverFor(p); errors.Is(err, nic.ErrNoDriver) {
			return err
		}
	}
	return nil
}

// setup makes a machine ready that is ours alone.
func setup(o *options, log *zap.Logger, stopped func() bool) error {
	err := appliance.Setup(appliance.Config{
		HugePages: o.hugePages, VFIO: len(o.functions()) > 0, AllowUnsafeInterrupts: o.unsafeInterrupts, NoIOMMU: o.noIOMMU,
	}, log)
	if err != nil {
		return err
	}
	if len(o.modules) > 0 {
		if o.bind { // before drivers of the kernel can take them, which might reset them
			for _, f := range o.functions() {
				if _, err := (pci.Sysfs{}).Bind(f, "vfio-pci"); err != nil && !errors.Is(err, pci.ErrNoDevice) {
					return err
				}
			}
		}
		if err := appliance.LoadModules(o.modules, log); err != nil {
			return cli.Unusablef("--modules: %w", err)
		}
	}
	for _, p := range o.ports {
		if !p.onInterface() || p.kind == "tap" { // which are made
			continue
		}
		if err := appliance.SetInterfaceUp(p.iface, p.mtu, log, stopped); err != nil {
			return cli.Unusablef("%s: %w", p.flag, err)
		}
	}
	return nil
}

// startUpkeep starts the process that sets interfaces up which come back, on a machine that is ours
// alone.
func (o *options) startUpkeep(log *zap.Logger) {
	var all []upkeep.Interface
	for _, p := range o.ports {
		if !p.onInterface() || p.kind == "tap" {
			continue
		}
		if name, err := netdev.Lookup(p.iface); err == nil {
			all = append(all, upkeep.Interface{Name: name, MTU: p.mtu})
		}
	}
	if !o.owned || all == nil {
		return
	}
	var err error
	if o.upkeep, err = upkeep.Start(all, !o.privileged); err != nil {
		log.Warn("an interface that vanishes stays down when it is back", zap.Error(err))
	}
}
