package vring_test

import (
	"testing"

	"vvufwd/virtio/vring/vringtest"
)

// bothFormats runs a test with a split and with a packed ring: what it checks does
// not depend on the ring's format.
func bothFormats(t *testing.T, test func(t *testing.T, packed bool)) {
	t.Run("split", func(t *testing.T) { test(t, false) })
	t.Run("packed", func(t *testing.T) { test(t, true) })
}

// place is DeviceConfig.NextAvail after n buffers of one slot each.
func place(packed bool, n uint16, size int) uint16 {
	if packed {
		return vringtest.SlotAt(int(n), size).Word()
	}
	return n
}
