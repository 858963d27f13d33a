package dhcp

import (
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var lease = Lease{Server: net.IPv4(10, 231, 77, 1), Client: net.IPv4(10, 231, 77, 15), Mask: net.CIDRMask(24, 32), Time: time.Hour}

// request builds a client's message.
func request(t testing.TB, kind layers.DHCPMsgType, change func(*layers.DHCPv4)) []byte {
	t.Helper()
	q := &layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 0xcafe,
		ClientHWAddr: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x0a},
		Options:      layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)})},
	}
	if change != nil {
		change(q)
	}
	q.Options = append(q.Options, layers.NewDHCPOption(layers.DHCPOptEnd, nil))
	buffer := gopacket.NewSerializeBuffer()
	if err := q.SerializeTo(buffer, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func with(kind layers.DHCPOpt, value []byte) func(*layers.DHCPv4) {
	return func(q *layers.DHCPv4) { q.Options = append(q.Options, layers.NewDHCPOption(kind, value)) }
}

func TestAnswers(t *testing.T) {
	const none = layers.DHCPMsgTypeUnspecified
	tests := []struct {
		name    string
		request []byte
		want    layers.DHCPMsgType
	}{
		{"discover", request(t, layers.DHCPMsgTypeDiscover, nil), layers.DHCPMsgTypeOffer},
		{"request of the offer", request(t, layers.DHCPMsgTypeRequest, with(layers.DHCPOptRequestIP, lease.Client.To4())), layers.DHCPMsgTypeAck},
		{"renewal", request(t, layers.DHCPMsgTypeRequest, func(q *layers.DHCPv4) { q.ClientIP = lease.Client }), layers.DHCPMsgTypeAck},
		{"request of another address", request(t, layers.DHCPMsgTypeRequest, with(layers.DHCPOptRequestIP, []byte{10, 0, 0, 9})), layers.DHCPMsgTypeNak},
		{"request to another server", request(t, layers.DHCPMsgTypeRequest, with(layers.DHCPOptServerID, []byte{10, 0, 0, 1})), none},
		{"release", request(t, layers.DHCPMsgTypeRelease, nil), none},
		{"a reply", request(t, layers.DHCPMsgTypeDiscover, func(q *layers.DHCPv4) { q.Operation = layers.DHCPOpReply }), none},
		{"no message type", request(t, layers.DHCPMsgTypeDiscover, func(q *layers.DHCPv4) { q.Options = nil }), none},
		{"noise", []byte("noise"), none},
		{"nothing", nil, none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer, err := lease.Answer(test.request)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == none {
				if answer != nil {
					t.Errorf("answered with %d bytes", len(answer))
				}
				return
			}
			var r layers.DHCPv4
			if err := r.DecodeFromBytes(answer, gopacket.NilDecodeFeedback); err != nil {
				t.Fatal(err)
			}
			if got := layers.DHCPMsgType(option(r.Options, layers.DHCPOptMessageType)[0]); got != test.want {
				t.Errorf("answer = %v, want %v", got, test.want)
			}
			if r.Operation != layers.DHCPOpReply || r.Xid != 0xcafe || option(r.Options, layers.DHCPOptServerID) != string(lease.Server.To4()) {
				t.Errorf("answer = %+v", r)
			}
			given := test.want != layers.DHCPMsgTypeNak
			if r.YourClientIP.Equal(lease.Client) != given {
				t.Errorf("address in the answer = %v", r.YourClientIP)
			}
			if (option(r.Options, layers.DHCPOptRouter) == string(lease.Server.To4())) != given {
				t.Errorf("options = %v", r.Options)
			}
		})
	}
}

// FuzzAnswer feeds what a hostile guest may send: it must neither panic nor fail.
func FuzzAnswer(f *testing.F) {
	f.Add(request(f, layers.DHCPMsgTypeDiscover, nil))
	f.Add(request(f, layers.DHCPMsgTypeRequest, with(layers.DHCPOptRequestIP, lease.Client.To4())))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, err := lease.Answer(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer) > 1500 {
			t.Errorf("answer of %d bytes", len(answer))
		}
	})
}
