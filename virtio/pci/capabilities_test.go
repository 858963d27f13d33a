package virtiopci

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/vfio/pci"
)

func TestParseCapabilitiesOfTheFork(t *testing.T) {
	got, err := ParseCapabilities(configSpace(0x1058, 0x1100, vhostUserCaps()...))
	if err != nil {
		t.Fatal(err)
	}
	at := func(bar int, offset, length uint64) Location { return Location{bar, offset, length, true} }
	want := Capabilities{
		Common: at(4, 0, 0x1000), ISR: at(4, 0x1000, 0x1000), Device: at(4, 0x2000, 0x1000),
		Notify: at(4, 0x3000, 0x1000), NotifyMultiplier: 4,
		Doorbell: at(2, 0, 0x2000), DoorbellMultiplier: 4,
		Notification: at(2, 0x2000, 0x1000), SharedMemory: at(2, 0x3000, 0x1000),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSharedMemoryOf64Bits(t *testing.T) {
	caps, err := ParseCapabilities(configSpace(0x1058, 0, capOf(typeSharedMemory, 2, 0x1000, 0x2000, 3, 4)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Location{2, 3<<32 | 0x1000, 4<<32 | 0x2000, true}); caps.SharedMemory != want {
		t.Errorf("got %+v, want %+v", caps.SharedMemory, want)
	}
}

func TestParseCapabilitiesPassesOver(t *testing.T) {
	caps, err := ParseCapabilities(configSpace(0x1041, 0,
		capOf(9, 0, 0, 0),                   // vendor data of virtio 1.2
		capOf(0xee, 7, 1, 2),                // unknown
		capOf(typeCommon, 6, 0x100, 0x1000), // reserved BAR
		capOf(typeCommon, 1, 0x200, 0x1000), // this one counts
		capOf(typeCommon, 2, 0x300, 0x1000), // second choice
	))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Capabilities{Common: Location{1, 0x200, 0x1000, true}}, caps); diff != "" {
		t.Error(diff)
	}
}

func TestParseCapabilitiesRefuses(t *testing.T) {
	short := func(kind, length byte) func(byte) []byte {
		return func(next byte) []byte {
			b := virtioCap(next, kind, 0, 0, 0x1000)
			b[2] = length
			return b
		}
	}
	for name, c := range map[string]func(byte) []byte{
		"common too short":          short(typeCommon, 15),
		"notify without multiplier": short(typeNotify, 16),
		"doorbell no multiplier":    short(typeDoorbell, 19),
		"end beyond 64 bits":        capOf(typeSharedMemory, 2, 0xffff_f000, 0x2000, 0xffff_ffff, 0),
		"length beyond 64 bits":     capOf(typeSharedMemory, 2, 1, 0xffff_ffff, 0, 0xffff_ffff),
	} {
		if caps, err := ParseCapabilities(configSpace(0x1041, 0, c)); err == nil {
			t.Errorf("%s: %+v", name, caps)
		}
	}
	if _, err := ParseCapabilities(nil); err == nil {
		t.Error("no configuration space at all")
	}
}

// FuzzParseCapabilities: exactly one of value and error, and no location that virtio
// reserves or that wraps around.
func FuzzParseCapabilities(f *testing.F) {
	f.Add(configSpace(0x1041, 0x1100, standardCaps()...))
	f.Add(configSpace(0x1058, 0x1100, vhostUserCaps()...))
	f.Add(configSpace(0x1058, 0, capOf(typeSharedMemory, 2, 0x1000, 0x2000, 3, 4)))
	f.Add(bytes.Repeat([]byte{pci.CapVendor}, 256))
	f.Fuzz(func(t *testing.T, config []byte) {
		caps, err := ParseCapabilities(config)
		if err != nil {
			if caps != (Capabilities{}) {
				t.Fatal("capabilities with an error")
			}
			return
		}
		for _, l := range []Location{
			caps.Common, caps.Notify, caps.ISR, caps.Device, caps.Doorbell, caps.Notification, caps.SharedMemory,
		} {
			if !l.Present && l != (Location{}) || l.BAR < 0 || l.BAR > 5 || l.Offset+l.Length < l.Offset {
				t.Fatalf("bad location %+v", l)
			}
		}
	})
}
