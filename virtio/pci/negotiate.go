package virtiopci

import (
	"fmt"

	"vvufwd/virtio"
)

// Offered reads the features that the device offers.
func (t *Transport) Offered() virtio.Features {
	t.common.Store32(commonDeviceFeatureSelect, 0)
	low := t.common.Load32(commonDeviceFeature)
	t.common.Store32(commonDeviceFeatureSelect, 1)
	high := t.common.Load32(commonDeviceFeature)
	return virtio.Features(high)<<32 | virtio.Features(low)
}

// Negotiate takes a freshly reset device through feature negotiation (3.1.1, steps
// 2 to 6). It accepts those of want that the device offers, VERSION_1, which must be
// offered, ACCESS_PLATFORM, which must be offered too where addresses are
// translated: without it a device would bypass the IOMMU, and ORDER_PLATFORM, which a driver should
// accept (6.1): hardware may refuse to work without, and package order knows no weaker barriers. It returns what was accepted. On an error the device is FAILED.
func (t *Transport) Negotiate(want virtio.Features) (virtio.Features, error) {
	if t.status != 0 {
		return 0, fmt.Errorf("%v: %w", t.addr, errNotReset)
	}
	t.addStatus(virtio.StatusAcknowledge)
	t.addStatus(virtio.StatusDriver)

	offered := t.Offered()
	if !offered.Has(virtio.Version1) {
		return 0, t.failWith(t.unusable("start it with disable-legacy=on and without disable-modern=on",
			"does not offer VERSION_1, only %v", offered))
	}
	if !t.device.Untranslated() && !offered.Has(virtio.AccessPlatform) {
		return 0, t.failWith(t.unusable("start it with disable-legacy=on,iommu_platform=on",
			"does not offer ACCESS_PLATFORM, so it would bypass the IOMMU and use guest-physical addresses"))
	}
	accepted := offered & (want | virtio.Version1 | virtio.AccessPlatform | virtio.OrderPlatform)
	t.common.Store32(commonDriverFeatureSelect, 0)
	t.common.Store32(commonDriverFeature, uint32(accepted))
	t.common.Store32(commonDriverFeatureSelect, 1)
	t.common.Store32(commonDriverFeature, uint32(accepted>>32))

	t.addStatus(virtio.StatusFeaturesOK)
	if status := t.Status(); status&virtio.StatusFeaturesOK == 0 || status == absent {
		return 0, t.failWith(t.unusable("see the log of the program that provides the device",
			"does not accept the features %v (status 0x%02x)", accepted, status))
	}
	return accepted, nil
}
