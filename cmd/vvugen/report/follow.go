package report

import (
	"fmt"
	"io"
	"sync"
	"time"

	"vvufwd/cmd/vvugen/traffic"
)

// Follow prints a line for each direction each second, until the function that
// it returns is called; that one waits until no line can follow.
func Follow(out io.Writer, directions []*traffic.Progress) (stop func()) {
	return follow(out, directions, time.Second)
}

func follow(out io.Writer, directions []*traffic.Progress, every time.Duration) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		before := make([]uint64, len(directions))
		at := start
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				for i, d := range directions {
					received := d.Received()
					fmt.Fprintf(out, "%4.0fs  %8.3f Mpps  sent %d received %d  %s\n", now.Sub(start).Seconds(),
						float64(received-before[i])/now.Sub(at).Seconds()/1e6, d.Sent(), received, d.Name)
					before[i] = received
				}
				at = now
			}
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() { close(quit) })
		<-done
	}
}
