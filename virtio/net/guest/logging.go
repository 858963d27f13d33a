package guest

// setLogging makes the rings mark what they write as q says, for the goroutine that has
// taken them over. That alone replaces no ring: it changes while frames are on their way.
func (q *Queues) setLogging() {
	if q.ToGuest != nil {
		q.ToGuest.SetLogging(q.ToGuestLog)
	}
	if q.FromGuest != nil {
		q.FromGuest.SetLogging(q.FromGuestLog)
	}
}
