package vring

import (
	"testing"

	"vvufwd/virtio/mem"
)

// inWindow is EVENT_IDX by its meaning and not by its formula: publishing the
// indices old+1 .. new, did the index event+1 come by?
func inWindow(event, new, old uint16) bool {
	for i := old; i != new; i++ {
		if i+1 == event+1 {
			return true
		}
	}
	return false
}

// vringNeedEvent is the formula of 2.7.7.2 and of the C header, in its own words.
func vringNeedEvent(event, new, old uint16) bool {
	return uint16(new-event-1) < uint16(new-old)
}

// eventOlds are the places where index arithmetic can go wrong.
var eventOlds = []uint16{0, 1, 2, 255, 32766, 32767, 32768, 65280, 65533, 65534, 65535}

// Every event against windows of every length up to 64, and against some long
// ones, from each of eventOlds.
func TestCrossesIsMembership(t *testing.T) {
	lengths := []int{127, 128, 255, 256, 32767, 32768, 32769, 65534, 65535}
	for n := range 65 {
		lengths = append(lengths, n)
	}
	for _, old := range eventOlds {
		for _, n := range lengths {
			if raceEnabled && n > 64 {
				continue // the same arithmetic, ten times slower
			}
			new := old + uint16(n)
			var member [65536]bool
			for i := old; i != new; i++ {
				member[i] = true
			}
			for e := range 65536 {
				event := uint16(e)
				if got := crosses(event, new, old); got != member[event] || got != vringNeedEvent(event, new, old) {
					t.Fatalf("crosses(event %d, new %d, old %d) = %v, want %v", event, new, old, got, member[event])
				}
			}
		}
	}
}

// eventRing is both sides of a ring with EVENT_IDX in plain memory.
func eventRing(t *testing.T) (*Driver, *Device) {
	t.Helper()
	const size = 256
	words := make([]uint64, DriverBytes(size)/8)
	b := bytesOf(words)
	driver, err := NewDriver(DriverConfig{Size: size, Memory: b, Base: 0x1000, EventIdx: true})
	if err != nil {
		t.Fatal(err)
	}
	table, err := mem.New([]mem.Region{{GPA: 0x1000, Mem: b}})
	if err != nil {
		t.Fatal(err)
	}
	d, a, u := driver.Addresses()
	device, err := NewDevice(DeviceConfig{
		Size: size, Mem: table, Desc: mem.GPA(d), Avail: mem.GPA(a), Used: mem.GPA(u), EventIdx: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return driver, device
}

// eventWindows are the bursts that a ring of 256 publishes at once.
var eventWindows = []uint16{0, 1, 2, 3, 31, 32, 33, 255, 256}

// Every used_event against the bursts of a ring: NeedSignal interrupts exactly
// when the index after used_event was published, and decides once per burst.
func TestNeedSignalOnEveryUsedEvent(t *testing.T) {
	driver, q := eventRing(t)
	for _, old := range eventOlds {
		for _, n := range eventWindows {
			if raceEnabled && n > 1 {
				continue
			}
			new := old + n
			for e := range 65536 {
				event := uint16(e)
				*driver.format.(*splitDriver).avail.usedEvent() = event
				q.format.(*splitDevice).signalledUsed, q.signalledValid, q.published = old, true, new
				want := uint16(event-old) < n
				if got := q.NeedSignal(); got != want || got != vringNeedEvent(event, new, old) {
					t.Fatalf("used_event %d, published %d to %d: %v, want %v", event, old, new, got, want)
				}
				if q.NeedSignal() {
					t.Fatalf("used_event %d, published %d to %d: interrupts twice", event, old, new)
				}
			}
		}
	}
}

// The same for avail_event and kicks.
func TestNeedKickOnEveryAvailEvent(t *testing.T) {
	q, device := eventRing(t)
	for _, old := range eventOlds {
		for _, n := range eventWindows {
			if raceEnabled && n > 1 {
				continue
			}
			new := old + n
			for e := range 65536 {
				event := uint16(e)
				*device.format.(*splitDevice).used.availEvent() = event
				q.kickedAt, q.published = old, new
				want := uint16(event-old) < n
				if got := q.NeedKick(); got != want || got != vringNeedEvent(event, new, old) {
					t.Fatalf("avail_event %d, published %d to %d: %v, want %v", event, old, new, got, want)
				}
				if q.NeedKick() {
					t.Fatalf("avail_event %d, published %d to %d: kicks twice", event, old, new)
				}
			}
		}
	}
}

// The model of the two tests above, against the definition spelled out.
func TestEventModel(t *testing.T) {
	for _, old := range eventOlds {
		for n := range uint16(5) {
			for e := -8; e <= 8; e++ {
				event := old + uint16(e)
				if got, want := uint16(event-old) < n, inWindow(event, old+n, old); got != want {
					t.Fatalf("event %d in %d..%d: %v, want %v", event, old, old+n, got, want)
				}
			}
		}
	}
}
