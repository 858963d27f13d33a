package dhcp

import (
	"bytes"
	"encoding/binary"
	"net"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Lease is what the server offers to whoever asks. All addresses are IPv4.
type Lease struct {
	Server net.IP // the server, which is the router too
	Client net.IP
	Mask   net.IPMask
	Time   time.Duration
	// BootFile is what a client that boots from the network fetches from Server by TFTP. Empty: none.
	BootFile string
}

// optBootFile is the option that gopacket has no name for (RFC 2132, 9.5).
const optBootFile layers.DHCPOpt = 67

// Answer returns the message to send in answer to a request of a client, or nil when there is none to send: for what is no DHCP
// request, and for messages that want no answer. Requests come from the app VM and are not trusted.
func (l Lease) Answer(request []byte) ([]byte, error) {
	// The decoder panics for a hardware address longer than 227 bytes, so the fixed header is looked at first.
	fixed := []byte{byte(layers.DHCPOpRequest), byte(layers.LinkTypeEthernet), 6}
	if !bytes.HasPrefix(request, fixed) {
		return nil, nil
	}
	var q layers.DHCPv4
	if err := q.DecodeFromBytes(request, gopacket.NilDecodeFeedback); err != nil {
		return nil, nil // noise
	}
	var kind layers.DHCPMsgType
	switch option(q.Options, layers.DHCPOptMessageType) {
	case string([]byte{byte(layers.DHCPMsgTypeDiscover)}):
		kind = layers.DHCPMsgTypeOffer
	case string([]byte{byte(layers.DHCPMsgTypeRequest)}):
		if server := option(q.Options, layers.DHCPOptServerID); server != "" && server != string(l.Server.To4()) {
			return nil, nil // it chose another server
		}
		kind = layers.DHCPMsgTypeAck
		wanted := option(q.Options, layers.DHCPOptRequestIP)
		if wanted == "" {
			wanted = string(q.ClientIP.To4()) // it renews
		}
		if wanted != string(l.Client.To4()) {
			kind = layers.DHCPMsgTypeNak
		}
	default:
		return nil, nil
	}
	return l.reply(&q, kind)
}

func (l Lease) reply(q *layers.DHCPv4, kind layers.DHCPMsgType) ([]byte, error) {
	r := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: q.HardwareType, HardwareLen: q.HardwareLen, Xid: q.Xid, Flags: q.Flags,
		RelayAgentIP: q.RelayAgentIP, ClientHWAddr: q.ClientHWAddr,
		Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)}),
			layers.NewDHCPOption(layers.DHCPOptServerID, l.Server.To4()),
		},
	}
	if kind != layers.DHCPMsgTypeNak {
		r.YourClientIP, r.NextServerIP = l.Client, l.Server
		r.Options = append(r.Options,
			layers.NewDHCPOption(layers.DHCPOptLeaseTime, binary.BigEndian.AppendUint32(nil, uint32(l.Time/time.Second))),
			layers.NewDHCPOption(layers.DHCPOptSubnetMask, l.Mask),
			layers.NewDHCPOption(layers.DHCPOptRouter, l.Server.To4()),
		)
		if l.BootFile != "" {
			r.File = []byte(l.BootFile)
			r.Options = append(r.Options, layers.NewDHCPOption(optBootFile, []byte(l.BootFile)))
		}
	}
	r.Options = append(r.Options, layers.NewDHCPOption(layers.DHCPOptEnd, nil))
	buffer := gopacket.NewSerializeBuffer()
	if err := r.SerializeTo(buffer, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// option returns the value of an option, or "".
func option(options layers.DHCPOptions, kind layers.DHCPOpt) string {
	for _, o := range options {
		if o.Type == kind {
			return string(o.Data)
		}
	}
	return ""
}
