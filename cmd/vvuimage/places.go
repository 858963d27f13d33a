package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/vfio/pci"
)

// firstSlot is from where on devices are put that have no place of their own: below, the machine may have something itself.
const firstSlot = 4

// slots are the places of the printed machine's root bus.
type slots struct {
	machine machine.Driver
	taken   map[int]bool // by devices for ports
}

// placed is a port whose device has a slot of its own.
type placed struct {
	port
	slot int    // 0: none is left
	why  string // not the one that the port names; empty: it is
}

// place gives a machine the devices that the arguments name, each where they name it if it can be there. The notes are what whoever
// runs the machine has to see to.
func (o *options) place(d *machine.Driver) (notes []string) {
	s := &slots{machine: *d, taken: make(map[int]bool)}
	var all []placed
	interfaces := make(map[string]port) // one may have several ports, as with macvtap
	for _, p := range o.words.ports() {
		if p.onPCI() {
			all = append(all, s.asNamed(p))
		} else if _, ok := interfaces[p.iface]; !ok {
			interfaces[p.iface] = p
		}
	}
	for i := range all {
		if all[i].why != "" { // after all that have their places
			all[i].slot = s.free(all[i].offset())
			notes = append(notes, all[i].note())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(interfaces)) { // the kernel counts eth0, eth1 by places
		p := placed{port: interfaces[name]}
		switch {
		case p.kind == "tap": // vvufwd makes it
			continue
		case strings.HasPrefix(name, "wl"):
			notes = append(notes, p.flag+": no one emulates a Wi-Fi card: give the machine one of the host's, QEMU by -device vfio-pci,host=ADDRESS.")
			continue
		}
		if p.slot = s.free(0); p.slot == 0 {
			p.why = "its NIC has no address"
			notes = append(notes, p.note())
		}
		all = append(all, p)
	}
	d.Cards = []machine.Card{}
	for _, p := range all {
		switch {
		case p.slot == 0:
		case p.kind == "vvu":
			d.Sockets = append(d.Sockets, "/tmp/"+numbered("vvu", len(d.Sockets))+".sock")
			d.Slots = append(d.Slots, p.slot)
		default:
			n := len(d.Cards)
			d.Cards = append(d.Cards, machine.Card{Kind: o.nicKind(p.port), Slot: p.slot, Net: machine.Backend{TAP: fmt.Sprintf("tap%d", n)}})
		}
		if p.virtual() && p.slot != 0 {
			notes = append(notes, fmt.Sprintf("%s: a virtual function of the igb at %v, once Linux's igb has made it (sriov_numvfs), which vvufwd as /init does not see to.", p.flag, address(p.slot)))
		}
	}
	return notes
}

// numbered is the name of a thing, with its number if it is not the first.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprint(name, n)
}

// nicKind is the kind of NIC that a port is for: the one that it names, else that of the kernel's modules for NICs.
func (o *options) nicKind(p port) machine.NIC {
	if kind := machine.NIC(p.kind); kind.Known() {
		return kind
	}
	nic := machine.VirtioNet
	for _, kind := range machine.NICs {
		if kind.Hardware() && slices.Contains(o.nicModules, string(kind)) {
			nic = kind
		}
	}
	return nic
}

// virtual reports whether a port is for a virtual function. QEMU has the physical one.
func (p port) virtual() bool { return p.kind == string(machine.IGBVF) }

// offset is how many slots a port's function comes after the device that has it.
func (p port) offset() int {
	if p.virtual() {
		return machine.VFSlots
	}
	return 0
}

// address is that of the function in a slot.
func address(slot int) pci.Address { return pci.Address{Device: uint8(slot)} }

// note says where the device of a port is that cannot be where it should.
func (p placed) note() string {
	if p.slot == 0 {
		return fmt.Sprintf("%s: %s, and no slot is free: add the device by hand.", p.flag, p.why)
	}
	return fmt.Sprintf("%s: %s, so the line has it at %v: name that in --args, or set the address by hand.", p.flag, p.why, address(p.slot+p.offset()))
}

// asNamed takes the slot for a port that its address says, if it can be had.
func (s *slots) asNamed(p port) placed {
	slot := int(p.function.Device) - p.offset()
	why := ""
	switch {
	case p.function.Domain != 0 || p.function.Bus != 0:
		why = "that is not on the machine's root bus"
	case p.function.Function != 0:
		why = "a device alone in its slot is function 0"
	case slot < 0:
		why = fmt.Sprintf("the first virtual function of an igb comes %d slots after it", machine.VFSlots)
	default:
		why = s.inTheWay(slot, p.offset())
	}
	if why != "" {
		return placed{port: p, why: why}
	}
	s.take(slot, p.offset())
	return placed{port: p, slot: slot}
}

// free takes the first slot that can be had for a device with a function so many slots after it. 0: there is none.
func (s *slots) free(offset int) int {
	for n := range machine.LastSlot {
		slot := (firstSlot + n) % machine.LastSlot
		if s.inTheWay(slot, offset) == "" {
			s.take(slot, offset)
			return slot
		}
	}
	return 0
}

// take marks the slots of a device and of its function.
func (s *slots) take(slot, offset int) { s.taken[slot], s.taken[slot+offset] = true, true }

// inTheWay says why a device cannot be in a slot, with a function so many slots after it. Empty: it can.
func (s *slots) inTheWay(slot, offset int) string {
	for _, one := range []int{slot, slot + offset} {
		switch what := s.machine.Occupied(one); {
		case what != "":
			return what + " is at " + address(one).String()
		case one > machine.LastSlot:
			return "that is behind the end of the root bus"
		case s.taken[one]:
			return "another port has " + address(one).String()
		}
	}
	return ""
}
