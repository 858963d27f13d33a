// Package shadow keeps the memory of an app VM from the driver VM that serves its network
// device. A virtio-vhost-user device shows the driver VM what a vhost-user front-end shares,
// and front-ends share all of their guest's RAM. Here vvudev is that front-end itself, and
// shares a region that it has made: rings, and the frames that are on their way.
//
//	app VM ═ its RAM ═ guest port ── loop ── shadow port ═ shadow region ═ device ── driver VM
//	         (vvu/socket, virtio/net/guest)  (this package)               (vvu/device)
//
// A frame is copied once more than without, by a loop of package netfwd. Each side negotiates
// for itself: rings, buffers and offloads of the two need not be alike, as between any two ports.
//
// # A session
//
// Shadow has a session with the driver VM for each front-end of the app VM: it begins when
// that one connects, and ends with it. So what the driver VM sees is what it sees without
// a shadow, and nothing of one app VM is left for the time of the next: the region is wiped in
// between. Within a session rings run, whatever the app VM's guest does: it may reset its
// device, reboot, migrate away. A driver VM that goes ends the session too, and the next one
// begins another; the app VM notices nothing but that frames get lost.
//
// # Trust
//
// The driver VM is hostile. What it can reach is the region, at any time, and messages through
// the device. Completions are checked against what was offered (virtio/vring), the place of a
// buffer is never read back from the region, headers are read once, and a ring that makes no
// sense costs it the session. The region cannot be made smaller under us, because it is sealed. What
// is in it is never memory of the app VM. So the worst that a driver VM can do is to lose, to forge,
// or to delay frames.
package shadow
