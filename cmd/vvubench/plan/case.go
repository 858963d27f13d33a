package plan

import "fmt"

// Case is one situation in which both peers are measured.
type Case struct {
	ID    string `json:"id"` // what --only matches
	Size  int    `json:"frame_bytes"`
	Full  bool   `json:"full_payload"` // every byte of every frame is written, not only its headers
	Both  bool   `json:"both_ways"`
	Pairs int    `json:"pairs"` // of ports that one core forwards between

	// Rate is how many frames are sent per second; 0: as many as possible.
	Rate float64 `json:"rate_pps"`
	// HalfOf is a case of which half the rate of the slower peer is sent, instead
	// of Rate.
	HalfOf string `json:"half_of,omitempty"`
	// Latency says that it is measured how long frames take.
	Latency bool `json:"latency"`
	// Switch says that vvufwd forwards as a learning switch; what it is compared with
	// does what it does in all other cases.
	Switch bool `json:"switch,omitempty"`
	// Packed says that guests have packed rings.
	Packed bool `json:"packed,omitempty"`
	// Through is a kind of interface of the kernel, packet, xdp or tap, that stands between the
	// sockets: frames go from the first one to an interface, through the kernel to another
	// one, and from there to the second socket. The forwarder has all four ports.
	Through string `json:"through,omitempty"`
	// Opinion says that the load is not vvugen's but that of testpmd's virtio-user.
	Opinion bool `json:"second_opinion"`
}

// String names the case for people.
func (c Case) String() string {
	text := fmt.Sprintf("%d B", c.Size)
	if c.Full {
		text += " full"
	}
	if c.Both {
		text += " both ways"
	} else {
		text += " one way"
	}
	if c.Pairs > 1 {
		text += fmt.Sprintf(", %d pairs", c.Pairs)
	}
	switch {
	case c.HalfOf != "":
		text += " at half load"
	case c.Rate > 0:
		text += fmt.Sprintf(" at %g kpps", c.Rate/1e3)
	}
	if c.Switch {
		text += ", as a switch"
	}
	if c.Packed {
		text += ", packed rings"
	}
	if c.Through != "" {
		text += ", through " + c.Through
	}
	if c.Opinion {
		text += ", virtio-user"
	}
	return text
}
