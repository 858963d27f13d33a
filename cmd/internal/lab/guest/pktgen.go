package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"vvufwd/cmd/internal/pktgen"
)

// Generator is what the app VM's kernel packet generator sends.
type Generator struct {
	// Frames is how many; 0: until Time is over.
	Frames int64
	Time   time.Duration
	Sizes  pktgen.Sizes
	Stream int
	// Rate is how many a second; 0: as many as it can.
	Rate int64
	// VLAN is that of a tag in each frame; 0: none. Frames have at least 62 bytes then.
	VLAN int
}

// Burst is what it sent, by its own account.
type Burst struct {
	Frames int64         `json:"frames"`
	Took   time.Duration `json:"-"`
	Errors int64         `json:"errors"` // frames that the device did not take
}

func (g Generator) command() string {
	return fmt.Sprintf("pktgen %d %s %d %d %g %d", g.Frames, g.sizes(), pktgen.SourcePort(g.Stream), g.Rate, g.Time.Seconds(), g.VLAN)
}

// sizes are one word: what separates them on the console are spaces.
func (g Generator) sizes() string {
	if g.Sizes.Mixed() {
		return strings.ReplaceAll(g.Sizes.Weights(), " ", ";")
	}
	return g.Sizes.String()
}

// Pktgen makes the app VM's kernel send frames. If their number is given, progress is called each second with the number sent so
// far. A second in which none was sent is not yet a stall; stall is how long that may last before Pktgen gives up.
func (p *App) Pktgen(ctx context.Context, stall time.Duration, g Generator, progress func(sent int64)) (Burst, error) {
	// Each "at" line with a higher number than before begins a new period of grace.
	sent := int64(-1)
	for command := g.command(); ; command = "" {
		r, err := p.do(ctx, stall+g.Time, command, func(a answer) bool {
			if a.name != "pktgen" || a.status != "at" {
				return false
			}
			r := reader{answer: a}
			n := r.number()
			return r.err == nil && n > sent
		})
		if err != nil {
			return Burst{}, fmt.Errorf("after %d frames of %d: %w", max(sent, 0), g.Frames, err)
		}
		if r.status == "at" {
			sent = r.number()
			progress(sent)
			continue
		}
		b := Burst{Frames: r.number(), Took: time.Duration(r.number()) * time.Microsecond, Errors: r.number()}
		return b, r.err
	}
}

// Listen makes the app VM count what arrives of a stream, in the background, until Heard. It takes an image with vvugen.
func (p *App) Listen(ctx context.Context, limit time.Duration, stream int) error {
	_, err := p.do(ctx, limit, fmt.Sprintf("listen %d", stream), nil)
	return err
}

// Heard ends that.
func (p *App) Heard(ctx context.Context, limit time.Duration) (a pktgen.Arrival, err error) {
	r, err := p.do(ctx, limit, "heard", nil)
	if err != nil {
		return a, err
	}
	text := r.text()
	if r.err != nil {
		return a, r.err
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return a, fmt.Errorf("%w: %s: %w", errAnswer, r.name, err)
	}
	return a, nil
}
