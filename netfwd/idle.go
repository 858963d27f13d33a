package netfwd

import "time"

// idlePolicy decides when a loop that has nothing to do sleeps, and for how long. It is
// told of the loop's looks, which are some hundred rounds apart, and knows no clock but the
// times it is given. It belongs to the loop.
//
// A loop polls for Config.IdleAfter since it saw a frame last, and for minLooks looks,
// whichever is more: a processor that was away for a while has polled for none of it. On top
// of that it learns two things, each of which has a bound:
//
//   - Bursts that come at regular times are awaited: the loop sleeps until shortly before the
//     next one is due, as early as alarms were late before, and polls then, and after each for as long as
//     frames came after a pause in the last one. That is worth three eighths of the time between
//     bursts at most, a quarter if alarms are in time. A few in between, such as ARP between pings, do
//     not count. When a burst does not come it is given up for good, unless that one was only
//     a bit later, until enoughPeriods have been regular again.
//   - If frames come soon after the loop fell asleep (within maxWindow times IdleAfter since
//     the one before), it polls longer the next time, up to twice as long each
//     time and maxWindow times IdleAfter at most, as KVM's halt polling does, and half as long
//     if they come later. What this takes beyond IdleAfter is at most a quarter of all time
//     (credit).
//
// So a trickle of frames costs no more than IdleAfter for each, and half of a processor, or five eighths if
// alarms are late by as much as they ever count for.
type idlePolicy struct {
	after time.Duration // Config.IdleAfter; negative: never sleep

	last  time.Time // a frame or a kick came, or the loop began
	looks int       // since then, without a frame
	slept bool      // since the last frame
	woken bool      // by a kick, since the last look

	frame  time.Time // the last frame
	window time.Duration
	credit time.Duration // of polling beyond after
	poor   bool          // it was used up, and is saved until it is full
	paid   time.Time     // until when credit is up to date

	bursts rhythm
}

// minLooks is how many looks without a frame come before a sleep, at least. On a processor
// of its own they take some 100 us, less than the default of IdleAfter.
const minLooks = 16

// maxWindow is how much longer than IdleAfter a loop polls at most when frames come soon.
const maxWindow = 4

// creditShare is the share of all time that polling beyond IdleAfter may take, and maxCredit how
// much of it is saved, as a multiple of IdleAfter.
const (
	creditShare = 4
	maxCredit   = 16
)

// forever is a sleep without a limit.
const forever time.Duration = -1

// worked notes a look that saw frames.
func (p *idlePolicy) worked(now time.Time) {
	gap := now.Sub(p.frame)
	switch {
	case p.bursts.within(now):
		p.bursts.more(gap)
	case p.slept || p.bursts.awaited:
		p.resize(gap)
		p.bursts.begin(now)
	}
	p.frame, p.last, p.looks = now, now, 0
	p.slept, p.woken = false, false
}

// resize makes the window fit the time between two frames that was longer than it.
func (p *idlePolicy) resize(gap time.Duration) {
	if gap <= maxWindow*p.after {
		p.window = min(maxWindow*p.after, 2*max(p.window, p.after))
	} else {
		p.window = max(p.after, p.window/2)
	}
}

// idle notes a look that saw no frame, and decides whether to sleep and how long.
func (p *idlePolicy) idle(now time.Time) (sleep bool, limit time.Duration) {
	if p.after < 0 {
		return false, 0
	}
	if p.last.IsZero() || p.woken {
		p.last, p.looks, p.woken = now, 0, false
	}
	if p.after == 0 {
		return true, forever
	}
	p.looks++
	p.account(now, !p.slept && now.Sub(p.last) > p.after)
	if now.Sub(p.last) < p.polling(now) || p.looks < minLooks {
		return false, 0
	}
	return p.bursts.until(now)
}

// polling is how long to poll since the last frame.
func (p *idlePolicy) polling(now time.Time) time.Duration {
	if p.credit <= 0 {
		p.poor = true
	} else if p.credit >= maxCredit*p.after {
		p.poor = false
	}
	switch {
	case p.poor:
		return p.after
	case p.bursts.regular(): // whose times are known better
		return max(p.after, min(3*p.bursts.pause/2, 2*maxWindow*p.after))
	}
	return max(p.window, p.after)
}

// account brings the credit up to date. beyond is whether the loop polled for longer than after
// since the last time. What others took of the processor meanwhile is not charged: on a busy machine, where a virtual processor
// may be away for a tenth of a second, that would use up the credit of seconds at once.
func (p *idlePolicy) account(now time.Time, beyond bool) {
	if p.paid.IsZero() {
		p.paid = now
	}
	passed := now.Sub(p.paid)
	p.credit = min(maxCredit*p.after, p.credit+passed/creditShare)
	if beyond { // a look takes much less than after, unless others had the processor: that was no polling
		p.credit -= min(passed, p.after)
	}
	p.paid = now
}

// sleeps notes that the loop goes to sleep.
func (p *idlePolicy) sleeps() { p.slept = true }

// woke notes that a sleep is over, by whatever.
func (p *idlePolicy) woke(now time.Time) { p.bursts.woke(now) }

// kicked notes that a kick ended a sleep, or that there was work before it began: frames are
// looked for as long as after the last one.
func (p *idlePolicy) kicked() { p.woken = true }

// rhythm finds out whether bursts come at regular times. A burst begins with the first frame after
// a sleep. As TCP does for its round trips, it smooths the time between two and how far that
// is from what was expected.
type rhythm struct {
	start   time.Time // of the last burst
	period  time.Duration
	off     time.Duration // mean difference of a period from what was expected
	known   int           // periods in a row that were as expected
	awaited bool          // the next burst is polled for now

	alarm time.Time     // when the last sleep was to end; zero if by a kick only
	late  time.Duration // how late sleeps end, smoothed
	vary  time.Duration // mean difference from that

	stray  time.Time // the last burst that was out of rhythm
	strays int       // how many came, each worth strayWeight bursts that were in it

	pause  time.Duration // the longest one within the last burst: until the answer to a ping, for one
	paused time.Duration // that within this burst so far
}

// enoughPeriods in a row must be as expected before any is counted on: four bursts.
const enoughPeriods = 2

// fewStrays may come between two bursts, or one each strayWeight bursts for ever. With more there is another rhythm.
const (
	fewStrays   = 2
	strayWeight = 2
)

func (r *rhythm) regular() bool { return r.known >= enoughPeriods }

// margin is how long before and after its time a burst may come. It is an eighth of the period
// at most.
func (r *rhythm) margin() time.Duration { return min(3*r.off+leastMargin, r.period/8) }

// leastMargin covers what it takes to wake up by a timer, before that is known better.
const leastMargin = 100 * time.Microsecond

// woke learns how late alarms are. If a kick was earlier than one that is overdue, it was later than that.
func (r *rhythm) woke(now time.Time) {
	if r.alarm.IsZero() || now.Before(r.alarm) {
		return
	}
	off := now.Sub(r.alarm) - r.late
	r.late += off / 4
	r.vary += (off.Abs() - r.vary) / 4
	r.alarm = time.Time{}
}

// early is by how much an alarm is to be early, so that the loop is awake in time: an emulated machine takes a
// millisecond to wake up. It is another eighth of the period at most.
func (r *rhythm) early() time.Duration { return min(r.late+2*r.vary, r.period/8) }

// within reports whether a frame that comes now is one of the last burst, although the loop may have slept
// since: the answer to a ping comes soon after, as measured by the time between pings.
func (r *rhythm) within(now time.Time) bool { return !r.awaited && now.Sub(r.start) < r.period/8 }

// more notes a frame of the last burst, which came that long after the one before.
func (r *rhythm) more(gap time.Duration) {
	r.paused = max(r.paused, gap)
	r.pause = max(r.pause, r.paused)
}

// begin notes a burst.
func (r *rhythm) begin(now time.Time) {
	r.awaited = false
	if r.start.IsZero() {
		r.start = now
		return
	}
	period := now.Sub(r.start)
	off, most := (period - r.period).Abs(), max(r.period/8, leastMargin)
	if r.regular() && period < r.period-most { // something else, in between
		before := r.stray
		r.stray = now
		if r.strays += strayWeight; r.strays <= strayWeight*fewStrays {
			return
		}
		if before.After(r.start) {
			period = now.Sub(before)
		}
		off = most + 1
	}
	r.start = now
	r.pause, r.paused = r.paused, 0
	if off > most { // something else began
		r.period, r.off, r.known, r.strays = period, period/16, 0, 0
		return
	}
	r.known++
	r.strays = max(0, r.strays-1)
	r.period += (period - r.period) / 4
	r.off += (off - r.off) / 4
}

// until says whether to sleep until the next burst is near, for ever if no one knows, or not at all,
// for it is near.
func (r *rhythm) until(now time.Time) (sleep bool, limit time.Duration) {
	r.awaited, r.alarm = false, time.Time{}
	if !r.regular() {
		return true, forever
	}
	due, margin := r.start.Add(r.period), r.margin()
	switch alarm := due.Add(-margin - r.early()); {
	case now.After(due.Add(margin)):
		r.known = enoughPeriods - 1 // if it still comes within an eighth of the period, that was only late
		return true, forever
	case now.Before(alarm.Add(-leastMargin)):
		r.alarm = alarm
		return true, alarm.Sub(now)
	}
	r.awaited = true
	return false, 0
}
