package shadow

import (
	"testing"
	"time"
)

// A driver VM that ends each session after some time, whatever time that is, makes us begin few of them.
func TestPauses(t *testing.T) {
	const span = 10 * time.Minute
	for _, lasted := range []time.Duration{0, 19 * time.Millisecond, 100 * time.Millisecond, time.Second, lasting - 1, lasting, lasting + 1, time.Minute} {
		var p pauses
		sessions := 0
		for at := time.Duration(0); at < span; at += lasted + p.after(lasted) {
			sessions++
		}
		if perSecond := float64(sessions) / span.Seconds(); perSecond > 1.05 {
			t.Errorf("%.2f sessions a second of %v each", perSecond, lasted)
		}
	}
}

// One that works again is served at once, as is another app VM.
func TestPausesAreForgiven(t *testing.T) {
	var p pauses
	for range 20 {
		p.after(0)
	}
	if d := p.after(0); d != pauseMost {
		t.Errorf("after many sessions that failed: %v", d)
	}
	if d := p.after(lasting); d != pauseFirst {
		t.Errorf("after one that lasted: %v", d)
	}
	p.after(0)
	p.forget()
	if d := p.after(0); d != pauseFirst {
		t.Errorf("with another app VM: %v", d)
	}
}
