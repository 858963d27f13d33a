package suite

import (
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/netfwd/nic/nictest"
)

// Measure measures what a frame costs that comes from a card and goes to another one of its kind.
func Measure(b *testing.B, kind inteltest.Kind, d nic.Driver) {
	nictest.Measure(b, func(b *testing.B, size int) *nictest.Rig {
		var cards [2]nic.Card
		var functions [2]*inteltest.Function
		for i := range cards {
			functions[i] = inteltest.NewFunction(b, kind)
			cfg := Config(functions[i])
			cfg.QueueSize, cfg.MaxPairs = 256, 1
			var err error
			if cards[i], err = d.Open(functions[i], cfg); err != nil {
				b.Fatal(err)
			}
		}
		frame := numbered(1, size)
		return &nictest.Rig{
			From: cards[0].Queues()[0], To: cards[1].Queues()[0],
			Arrive: func(n int) {
				for range n {
					if !functions[0].Receive(0, frame, inteltest.Arrival{}) {
						b.Fatal("no room for a frame that arrives")
					}
				}
			},
			Sent: func(n int) {
				if functions[1].Transmit(0, n); len(functions[1].Wire()) != n {
					b.Fatal("frames were not sent")
				}
			},
		}
	})
}
