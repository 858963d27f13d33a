package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// Device configuration (virtio-vhost-user draft, contract 2.1).
const (
	configStatus = 0 // u32
	configQueues = 4 // u32, read-only
	configUUID   = 8 // 16 bytes, read-only
	configSize   = 28

	// Ours, with featureLink: u32, bit 0 is set unless the driver has taken the link of the
	// front-end's device down.
	configLink = 24
)

// featureLink says that there is a configLink. The draft has no features of its own.
const featureLink virtio.Features = 1 << 0

// Bits of the status field; the draft calls them SLAVE_UP and MASTER_UP.
const (
	statusDriverUp   uint32 = 1 << 0
	statusFrontendUp uint32 = 1 << 1
)

// connected reports whether messages may pass: the driver is up and a front-end
// is there. mu is held.
func (d *Device) connected() bool { return d.driverUp && d.session != nil }

// config is the image of device configuration.
func (d *Device) config() (b [configSize]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[configStatus:], d.connection())
	le.PutUint32(b[configQueues:], uint32(len(d.rings)))
	copy(b[configUUID:], d.uuid[:])
	if !d.linkDown {
		b[configLink] = 1
	}
	return b
}

// connection is the value of the status field.
func (d *Device) connection() (status uint32) {
	if d.driverUp {
		status |= statusDriverUp
	}
	if d.connected() {
		status |= statusFrontendUp
	}
	return status
}

// writeConfig handles a write to device configuration, of which only the status
// field can be written, in whole or byte by byte, and the link.
func (d *Device) writeConfig(offset uint64, p []byte) {
	if offset == configLink && d.features.Has(featureLink) {
		d.setLink(p[0]&1 != 0)
		return
	}
	if offset >= configQueues {
		d.log.Debug("write to a read-only configuration field", zap.Uint64("offset", offset))
		return
	}
	image := d.config()
	copy(image[offset:configQueues], p)
	v := binary.LittleEndian.Uint32(image[configStatus:])
	if v&^(statusDriverUp|statusFrontendUp) != 0 {
		d.needsReset(fmt.Errorf("status %#x has undefined bits", v))
		return
	}
	d.setDriverUp(v&statusDriverUp != 0)
}

// setDriverUp carries out a write of SLAVE_UP; the front-end's bit is not the
// driver's to write. mu is held.
func (d *Device) setDriverUp(up bool) {
	switch {
	case d.broken() || up == d.driverUp:
	case up:
		d.driverUp = true
		if d.session != nil {
			d.connect()
		}
	case d.connected():
		d.end(d.session, errors.New("the driver went down"), false)
	default:
		d.driverUp = false
	}
}

// setLink takes the link of the front-end's device down, or up again; mu is held. A
// vhost-user front-end has no message for it. QEMU's takes a connection that ends for a
// link that goes down, and the next for one that comes up. Connections that come
// meanwhile are closed at once, because QEMU asks at once and waits for the answer with
// its machine stopped. Refused it comes again, if it was told to reconnect.
func (d *Device) setLink(up bool) {
	if d.linkDown == up {
		d.log.Info("the driver sets the link of the front-end's device", zap.Bool("up", up))
	}
	d.changeLink(!up)
	if !up {
		d.end(d.session, errors.New("the driver took the link down"), true)
	}
}

// changeLink notes whether the link is down; mu is held.
func (d *Device) changeLink(down bool) {
	d.deferred.link = d.deferred.link || down != d.linkDown
	d.linkDown = down
}

// LinkDown reports whether the driver has taken the link of the front-end's device down. Safe
// for concurrent use.
func (d *Device) LinkDown() bool {
	d.mu.Lock()
	defer d.unlock()
	return d.linkDown
}

// connect starts the session of the front-end that is there; mu is held.
func (d *Device) connect() {
	d.log.Info("front-end and driver are connected")
	d.session.hear()
	d.configChanged()
}

// arrive takes note of a front-end on the socket, or returns false if it is refused.
func (d *Device) arrive(s *session) bool {
	d.mu.Lock()
	defer d.unlock()
	if d.linkDown {
		return false
	}
	d.session = s
	if d.driverUp {
		d.connect()
		return true
	}
	d.log.Info("front-end connected, waiting for the driver")
	return true
}

// end ends a session, if it has not ended yet: the socket is closed and all
// notifiers are dropped. If driver and front-end were connected the status goes
// to zero, which the driver is told with tell. mu is held.
func (d *Device) end(s *session, reason error, tell bool) {
	if s == nil || d.session != s {
		return
	}
	if vhostuser.PeerClosed(reason) {
		d.log.Info("front-end disconnected")
	} else {
		d.log.Warn("session with the front-end ended", zap.Error(reason))
	}
	wasConnected := d.connected()
	d.session = nil
	s.conn.Close()
	for i := range d.rings {
		d.release(i)
	}
	if wasConnected {
		d.driverUp = false
		d.dropReplies()
		if tell {
			d.configChanged()
		} else {
			d.generation++
		}
	}
	d.cond.Broadcast()
}

// hear lets a session out of its wait for the driver.
func (s *session) hear() { s.sock.SetReadDeadline(time.Unix(1, 0)) }
