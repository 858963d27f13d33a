package traffic

import (
	"fmt"
	"time"

	"vvufwd/cmd/vvugen/port"
)

// Plan says what to send and what to check. All counts and rates are per
// direction.
type Plan struct {
	Size  int  // bytes of each frame, see the package documentation
	Full  bool // write every byte of every frame, not only what differs in its first 64
	Burst int  // frames sent at once, at most

	Duration time.Duration // how long to send; 0: until Count
	Count    uint64        // frames to send; 0: until Duration
	Rate     float64       // frames per second; 0: as many as possible
	Window   int           // frames that may be under way; 0: as many as rings hold

	Verify   bool // check order, headers and length of every frame
	Checksum bool // with Verify: check the payload as well
	Latency  bool // stamp frames and measure how long they took

	Drain time.Duration // wait for frames under way until none came for so long
	Stall time.Duration // give a back-end up that does nothing for so long
}

// MaxBurst is the largest number of frames sent at once.
const MaxBurst = 256

// Check says what is wrong with the plan.
func (p *Plan) Check() error {
	switch {
	case p.Size < port.MinFrame || p.Size > port.MaxFrame:
		return fmt.Errorf("frame size %d: must be %d to %d bytes", p.Size, port.MinFrame, port.MaxFrame)
	case p.Burst < 1 || p.Burst > MaxBurst:
		return fmt.Errorf("burst of %d frames: must be 1 to %d", p.Burst, MaxBurst)
	case p.Duration < 0 || p.Duration == 0 && p.Count == 0:
		return fmt.Errorf("duration %v: must be positive if no count of frames is given", p.Duration)
	case !(p.Rate >= 0 && p.Rate <= 1e9): // NaN is refused, too
		return fmt.Errorf("rate of %g frames per second: must be 0 (no limit) to 1e9", p.Rate)
	case p.Window < 0:
		return fmt.Errorf("window of %d frames: must be 0 (no limit) or more", p.Window)
	case p.Drain <= 0 || p.Stall <= 0:
		return fmt.Errorf("drain %v and stall %v: must be positive", p.Drain, p.Stall)
	}
	return nil
}

// inspects reports whether the receiver looks into frames.
func (p *Plan) inspects() bool { return p.Verify || p.Latency }
