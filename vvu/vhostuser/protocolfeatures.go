package vhostuser

import (
	"fmt"
	"math/bits"
	"strings"
)

// ProtocolFeatures is a set of vhost-user protocol feature bits. They are
// negotiated apart from the virtio features, by requests 15 and 16.
type ProtocolFeatures uint64

// Protocol feature bits (VHOST_USER_PROTOCOL_F_*).
const (
	ProtoMQ                  ProtocolFeatures = 1 << 0
	ProtoLogShmFD            ProtocolFeatures = 1 << 1
	ProtoRARP                ProtocolFeatures = 1 << 2
	ProtoReplyAck            ProtocolFeatures = 1 << 3
	ProtoMTU                 ProtocolFeatures = 1 << 4
	ProtoBackendReq          ProtocolFeatures = 1 << 5
	ProtoCrossEndian         ProtocolFeatures = 1 << 6
	ProtoCryptoSession       ProtocolFeatures = 1 << 7
	ProtoPagefault           ProtocolFeatures = 1 << 8
	ProtoConfig              ProtocolFeatures = 1 << 9
	ProtoBackendSendFD       ProtocolFeatures = 1 << 10
	ProtoHostNotifier        ProtocolFeatures = 1 << 11
	ProtoInflightShmFD       ProtocolFeatures = 1 << 12
	ProtoResetDevice         ProtocolFeatures = 1 << 13
	ProtoInbandNotifications ProtocolFeatures = 1 << 14
	ProtoConfigureMemSlots   ProtocolFeatures = 1 << 15
	ProtoStatus              ProtocolFeatures = 1 << 16
	ProtoXenMmap             ProtocolFeatures = 1 << 17
	ProtoSharedObject        ProtocolFeatures = 1 << 18
	ProtoDeviceState         ProtocolFeatures = 1 << 19
)

// SupportedProtocol is everything [Backend] can serve; LOG_SHMFD and INFLIGHT_SHMFD only
// where files pass, over a socket. The others need a second channel, or another kind of device.
const SupportedProtocol = ProtoMQ | ProtoLogShmFD | ProtoInflightShmFD | ProtoRARP | ProtoReplyAck | ProtoMTU | ProtoCrossEndian | ProtoConfig |
	ProtoResetDevice | ProtoConfigureMemSlots | ProtoStatus

var protocolNames = [...]string{
	"MQ", "LOG_SHMFD", "RARP", "REPLY_ACK", "MTU", "BACKEND_REQ", "CROSS_ENDIAN", "CRYPTO_SESSION", "PAGEFAULT",
	"CONFIG", "BACKEND_SEND_FD", "HOST_NOTIFIER", "INFLIGHT_SHMFD", "RESET_DEVICE", "INBAND_NOTIFICATIONS",
	"CONFIGURE_MEM_SLOTS", "STATUS", "XEN_MMAP", "SHARED_OBJECT", "DEVICE_STATE",
}

// Has reports whether all bits of want are in p.
func (p ProtocolFeatures) Has(want ProtocolFeatures) bool { return p&want == want }

// String names the known bits and numbers the others: "MQ|REPLY_ACK|bit40".
func (p ProtocolFeatures) String() string {
	if p == 0 {
		return "none"
	}
	var names []string
	for rest := uint64(p); rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros64(rest)
		if bit < len(protocolNames) {
			names = append(names, protocolNames[bit])
		} else {
			names = append(names, fmt.Sprintf("bit%d", bit))
		}
	}
	return strings.Join(names, "|")
}
