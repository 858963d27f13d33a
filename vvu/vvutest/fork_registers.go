package vvutest

import (
	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/virtio"
)

// forkFeatures are offered for the message queues: NOTIFY_ON_EMPTY, ANY_LAYOUT,
// INDIRECT_DESC, EVENT_IDX, and ACCESS_PLATFORM as iommu_platform=on.
const forkFeatures = 1<<24 | virtio.AnyLayout | virtio.IndirectDesc | virtio.EventIdx | virtio.Version1 | virtio.AccessPlatform

func (f *Fork) loadRegister(_ *mmiotest.Fake, a mmiotest.Access) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case a.Offset < isrAt:
		return f.loadCommon(a)
	case a.Offset == isrAt:
		v := f.isr
		f.isr = 0
		return uint64(v)
	case a.Offset >= deviceConfigAt && a.Offset < notifyAt:
		return f.loadConfig(a)
	}
	f.t.Errorf("fork: %v: nothing can be read there", a)
	return 0
}

func (f *Fork) storeRegister(_ *mmiotest.Fake, a mmiotest.Access) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case a.Offset < isrAt:
		f.storeCommon(a)
	case a.Offset == deviceConfigAt+configStatus && a.Width == 4:
		f.storeStatus(uint32(a.Value))
	case a.Offset >= notifyAt && a.Width == 2:
		f.notify(int(a.Offset-notifyAt)/notifyStride, a.Value)
	default:
		f.t.Errorf("fork: %v: a driver must not write this", a)
	}
}

func (f *Fork) checkWidth(a mmiotest.Access) {
	if w := commonWidths[a.Offset]; w != a.Width {
		f.t.Errorf("fork: %v: the register has %d bytes", a, w)
	}
}

func (f *Fork) loadCommon(a mmiotest.Access) uint64 {
	f.checkWidth(a)
	q := f.queue()
	switch a.Offset {
	case commonOffer:
		return uint64(forkFeatures) >> (32 * (f.offerSelect & 1)) & 0xffffffff
	case commonConfigVector:
		return uint64(f.configVector)
	case commonNumQueues:
		return uint64(len(f.queues))
	case commonStatus:
		return uint64(f.status)
	case commonGeneration:
		return uint64(f.generation)
	case commonQueueNotify:
		return uint64(f.queueSelect)
	}
	if q == nil {
		return 0
	}
	switch a.Offset {
	case commonQueueSize:
		return uint64(q.size)
	case commonQueueVector:
		return uint64(q.vector)
	case commonQueueEnable:
		if q.ring != nil {
			return 1
		}
	}
	return 0
}

func (f *Fork) storeCommon(a mmiotest.Access) {
	f.checkWidth(a)
	q := f.queue()
	switch a.Offset {
	case commonOfferSelect:
		f.offerSelect = uint32(a.Value)
	case commonDriverSelect:
		f.driverSelect = uint32(a.Value)
	case commonDriver:
		f.accepted |= virtio.Features(a.Value) << (32 * (f.driverSelect & 1))
	case commonConfigVector:
		f.configVector = f.useVector(f.configVector, uint16(a.Value))
	case commonStatus:
		f.storeVirtioStatus(uint8(a.Value))
	case commonQueueSelect:
		f.queueSelect = uint16(a.Value)
	default:
		if q == nil {
			f.t.Errorf("fork: %v: there is no queue %d", a, f.queueSelect)
			return
		}
		f.storeQueue(q, a)
	}
}

func (f *Fork) storeVirtioStatus(v uint8) {
	if v == 0 {
		f.reset()
		return
	}
	if v&virtio.StatusFeaturesOK != 0 && (f.cfg.RefuseFeatures || f.accepted&^forkFeatures != 0) {
		v &^= virtio.StatusFeaturesOK
	}
	f.status = v | f.status&virtio.StatusNeedsReset
	f.cond.Broadcast()
}

func (f *Fork) loadConfig(a mmiotest.Access) uint64 {
	switch at := a.Offset - deviceConfigAt; {
	case at == configStatus && a.Width == 4:
		return uint64(f.connection())
	case at == configQueues && a.Width == 4:
		return forkRings
	case at >= configUUID && at+uint64(a.Width) <= configSize:
		return at // any UUID will do
	}
	f.t.Errorf("fork: %v: the status and the number of queues have 4 bytes", a)
	return 0
}

// connection is the status field; mu is held.
func (f *Fork) connection() (v uint32) {
	if f.up() {
		v |= statusDriverUp
	}
	if f.connected() {
		v |= statusFrontendUp
	}
	return v
}

func (f *Fork) storeStatus(v uint32) {
	if v&^(statusDriverUp|statusFrontendUp) != 0 {
		f.needsReset()
		return
	}
	f.setUp(v&statusDriverUp != 0)
}
