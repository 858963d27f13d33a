package shadow

import (
	"testing"
	"time"

	"vvufwd/virtio/net/driver"
)

// TestNothingIsDroppedWhileASessionOpens looks at what becomes of a guest's first frames while its session begins.
func TestNothingIsDroppedWhileASessionOpens(t *testing.T) {
	p := newPort("shadow", nil)
	p.cur = &queues{Port: new(driver.Port)}
	for round := range 5_000 {
		p.cut()
		p.await(time.Hour)
		opened := make(chan struct{})
		go func() { p.open(); close(opened) }()
		for p.fate() != pass {
			if f := p.fate(); f == drop {
				t.Fatalf("round %d: they are dropped", round)
			}
		}
		<-opened
	}
}
