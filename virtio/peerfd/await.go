package peerfd

// Await runs something that may not return, such as Receiver.Receive, on a goroutine of its own, and waits until it has
// returned or ended is closed. In the latter case it reports false, and the result goes to late, if there ever is one.
func Await[T any](ended <-chan struct{}, run func() T, late func(T)) (result T, ok bool) {
	select {
	case <-ended:
		return result, false
	default:
	}
	done := make(chan T)
	go func() {
		result := run()
		select {
		case done <- result:
		case <-ended:
			late(result)
		}
	}()
	select {
	case result = <-done:
		return result, true
	case <-ended:
		return result, false
	}
}
