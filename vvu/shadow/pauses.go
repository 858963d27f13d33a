package shadow

import "time"

// Pauses are from pauseFirst to pauseMost long. A session of lasting is one that the driver VM did not end soon.
const (
	pauseFirst = 20 * time.Millisecond
	pauseMost  = time.Second
	lasting    = 5 * time.Second
)

// pauses are those after sessions that the driver VM has ended: each is twice as long as the one before, until a
// session has lasted. So whatever it does, it makes us begin, and say, no more than one session a second.
type pauses struct{ last time.Duration }

// after is the pause after a session that the driver VM has ended when it had lasted so long.
func (p *pauses) after(lasted time.Duration) time.Duration {
	if lasted >= lasting {
		p.last = 0
	}
	p.last = min(max(2*p.last, pauseFirst), pauseMost)
	return p.last
}

// forget makes the next pause the first again: another app VM is not to pay for it.
func (p *pauses) forget() { p.last = 0 }
