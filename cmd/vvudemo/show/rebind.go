package show

import (
	"context"
	"fmt"
	"time"
)

// Rebind is one time that the app VM's network device had no driver, and its return.
type Rebind struct {
	Seconds float64 `json:"seconds"` // from the driver's return to lease and pings
	RTT     string  `json:"rtt_ms"`
}

// driverless is how long the device has no driver: long enough for vvufwd's loop to fall asleep without a limit, and for all
// that it does at intervals to have come up.
const driverless = 3 * time.Second

// rebinds has the app VM's guest take its network device from the driver, leave it alone, and give it back, time after time, while
// both VMs and the connection between them stay. What starts then are the same rings of the same session, which a loop that
// sleeps has to notice.
func (d *demo) rebinds(ctx context.Context) (string, error) {
	var longest, sum float64
	for i := 1; i <= d.Rebinds; i++ {
		r, err := d.rebind(ctx)
		if err != nil {
			return "", fmt.Errorf("rebind %d of %d: %w", i, d.Rebinds, err)
		}
		d.report.Rebinds = append(d.report.Rebinds, r)
		longest, sum = max(longest, r.Seconds), sum+r.Seconds
	}
	return fmt.Sprintf("%d of %d, %v without a driver each; from its return to lease and pings %.1f s on average, %.1f s at most", d.Rebinds, d.Rebinds,
		driverless, sum/float64(d.Rebinds), longest), nil
}

func (d *demo) rebind(ctx context.Context) (r Rebind, err error) {
	a := d.apps[0]
	begin := time.Now()
	if err := a.RebindAfter(ctx, commandLimit, driverless); err != nil {
		return r, err
	}
	if away := time.Since(begin); away < driverless {
		return r, fmt.Errorf("the device was without a driver for %v, want %v", away, driverless)
	}
	r.Seconds, r.RTT, err = d.returned(ctx, a, time.Now())
	return r, err
}
