package machine

import (
	"fmt"
	"strings"
)

// Card is one of a driver VM's NICs.
type Card struct {
	Kind NIC
	Slot int // of the root bus
	Net  Backend
}

// cards are its NICs, the usual one if no others are named.
func (d Driver) cards() []Card {
	if d.Cards != nil {
		return d.Cards
	}
	return []Card{{Kind: d.NIC, Slot: nicSlot, Net: d.Net}}
}

// cardArgs are the options for the NIC with the given number, counted from 0.
func (d Driver) cardArgs(number int, c Card) []string {
	id, mac := "nic", NICMAC
	if number > 0 {
		id = fmt.Sprintf("nic%d", number)
		mac = fmt.Sprintf("52:54:00:00:%02x:04", number)
	}
	device := fmt.Sprintf("%s,romfile=,addr=%x", c.Kind.device(id, mac, d.IOMMU), c.Slot)
	if c.Net.Queues > 1 && c.Kind.virtio() {
		device += multiqueue(c.Net.Queues)
	}
	if d.NICOpts != "" {
		device += "," + strings.Trim(d.NICOpts, ",")
	}
	return []string{"-netdev", c.Net.netdev(id), "-device", device}
}

// LastSlot is the last place of the root bus. The chipset has it.
const LastSlot = 0x1f

// Occupied says what the machine has in a slot of its root bus besides NICs and devices of app VMs. Empty: nothing.
func (d Driver) Occupied(slot int) string {
	switch {
	case slot == 0:
		return "the host bridge"
	case slot == LastSlot:
		return "the chipset"
	case slot == iommuSlot && d.IOMMU == Virtio:
		return "the virtio IOMMU"
	case slot == vsockSlot && d.CID != 0:
		return "the vsock device"
	case slot == serialSlot && len(d.Serial) > 0:
		return "the virtio-serial device"
	}
	return ""
}
