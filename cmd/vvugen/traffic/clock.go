package traffic

import "time"

// clock measures nanoseconds since it was made, on the monotonic clock.
type clock struct{ epoch time.Time }

// newClock returns a clock that shows more than 0 at once: 0 is no stamp.
func newClock() clock { return clock{time.Now().Add(-time.Microsecond)} }

func (c clock) now() int64 { return int64(time.Since(c.epoch)) }
