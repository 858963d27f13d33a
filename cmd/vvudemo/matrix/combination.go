package matrix

import (
	"fmt"
	"slices"
	"strings"

	"vvufwd/virtio"
)

// Combination is one way to set an app VM and its way to the network up. The first six fields are the app VM's.
type Combination struct {
	Packed    bool `json:"packed"`        // packed rings; else split ones
	Mergeable bool `json:"mergeable"`     // mergeable receive buffers
	Offloads  bool `json:"offloads"`      // checksum and segmentation offloads
	Many      bool `json:"many"`          // ManyQueues queue pairs; else one
	Newer     bool `json:"newer_kernel"`  // the second of three kernels; else the first, or with
	Newest    bool `json:"newest_kernel"` // the third
	// Wide is the driver VM's side: its NIC has packed rings, a TAP device behind it and ManyQueues queue pairs. Else it has split
	// rings, QEMU's user networking and one pair.
	Wide bool `json:"wide"`
	// Shadow keeps the app VM's memory from the driver VM: vvudev --shadow.
	Shadow bool `json:"shadow"`
	// Jumbo is an MTU of JumboMTU rather than 1500, which takes a Wide driver VM.
	Jumbo bool `json:"jumbo"`
}

// ManyQueues is how many queue pairs are many.
const ManyQueues = 4

// JumboMTU is in bytes.
const JumboMTU = 9000

// String is what a person calls it, without the kernel unless it is the newest.
func (c Combination) String() string {
	choose := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	parts := []string{
		choose(c.Packed, "packed", "split"), choose(c.Mergeable, "mergeable", "one buffer"), choose(c.Offloads, "offloads", "no offloads"),
		fmt.Sprintf("%d queues", c.Queues()), choose(c.Wide, "wide NIC", "narrow NIC"),
	}
	if c.Jumbo {
		parts = append(parts, "jumbo")
	}
	if c.Shadow {
		parts = append(parts, "shadow")
	}
	if c.Newest {
		parts = append(parts, "newest kernel")
	}
	return strings.Join(parts, ", ")
}

// Queues is the number of queue pairs of the app VM's network device.
func (c Combination) Queues() int {
	if c.Many {
		return ManyQueues
	}
	return 1
}

// offloadProperties are QEMU's names of what the guest may leave to the device and the device to the guest.
var offloadProperties = []string{
	"csum", "guest_csum", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "host_uso",
	"guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo", "guest_uso4", "guest_uso6",
}

// DeviceOptions are the properties of QEMU's (8.2 or later) virtio-net device, without those that the number of queues asks for.
func (c Combination) DeviceOptions() string {
	var options []string
	if c.Packed {
		options = append(options, "packed=on")
	}
	if !c.Mergeable {
		options = append(options, "mrg_rxbuf=off")
	}
	if !c.Offloads {
		for _, name := range offloadProperties {
			options = append(options, name+"=off")
		}
	}
	if c.Jumbo {
		options = append(options, fmt.Sprintf("host_mtu=%d", JumboMTU))
	}
	return strings.Join(options, ",")
}

// usedOffloads are those that the driver takes when it is offered them. QEMU leaves UDP segmentation (HOST_USO and its like) out of
// what a vhost-user device offers.
const usedOffloads = virtio.NetCsum | virtio.NetGuestCsum | virtio.NetHostTSO4 | virtio.NetHostTSO6 | virtio.NetHostECN |
	virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN

// CheckFeatures says what is wrong with what the guest has negotiated.
func (c Combination) CheckFeatures(got virtio.Features) error {
	want := virtio.Version1 | virtio.IndirectDesc | virtio.EventIdx
	not := virtio.RingReset // QEMU has it for vhost-user devices, and does not do it
	for _, choice := range []struct {
		made     bool
		features virtio.Features
	}{
		{c.Packed, virtio.RingPacked}, {c.Mergeable, virtio.NetMrgRxbuf}, {c.Offloads, usedOffloads},
		{c.Many, virtio.NetMQ},
	} {
		if choice.made {
			want |= choice.features
		} else {
			not |= choice.features
		}
	}
	if lacks, extra := want&^got, got&not; lacks|extra != 0 {
		return fmt.Errorf("the guest negotiated %v, which lacks %v and should lack %v", got, lacks, extra)
	}
	return nil
}

// CheckOffloads says what is wrong with what ethtool tells of the guest's offloads.
func (c Combination) CheckOffloads(got map[string]bool) error {
	want := map[string]bool{
		"tx-checksumming":          c.Offloads,
		"tcp-segmentation-offload": c.Offloads, "tx-tcp-segmentation": c.Offloads, "tx-tcp6-segmentation": c.Offloads,
	}
	var wrong []string
	for name, on := range want {
		if is, known := got[name]; !known || is != on {
			wrong = append(wrong, fmt.Sprintf("%s should be on=%v", name, on))
		}
	}
	if wrong != nil {
		slices.Sort(wrong)
		return fmt.Errorf("ethtool says otherwise: %s", strings.Join(wrong, ", "))
	}
	return nil
}
