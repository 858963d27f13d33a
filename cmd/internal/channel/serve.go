package channel

import (
	"context"
	"slices"
	"sync"
	"time"

	"vvufwd/virtio/peerfd"
)

// Serve accepts connections until ctx is done or the listener is closed, and has each served by a goroutine of its own. There are at
// most so many at a time: the one that came first has to go when one more comes, so that no one can keep others out by doing
// nothing; and no one is let in while too much is being closed of what others have sent. All have ended when Serve
// returns.
func Serve(ctx context.Context, l *Listener, most int, serve func(ctx context.Context, conn *Conn)) {
	ctx, cancel := context.WithCancel(ctx)
	bin := new(peerfd.Bin)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var mu sync.Mutex
	type client struct {
		conn *Conn
		end  context.CancelFunc
	}
	var open []*client // in the order in which they came
	for {
		for bin.Full() && ctx.Err() == nil {
			time.Sleep(usualPause)
		}
		file, err := l.Accept()
		if err != nil {
			return
		}
		conn := newConn(file, bin)
		own, end := context.WithCancel(ctx)
		c := &client{conn, end}
		mu.Lock()
		crowded := len(open) >= most
		for len(open) >= most {
			open[0].end()
			open = open[1:]
		}
		open = append(open, c)
		mu.Unlock()
		all.Go(func() {
			stop := context.AfterFunc(own, func() { conn.Close() }) // who serves it finds out, at whatever it waits for
			serve(own, conn)
			stop()
			end()
			conn.Close()
			mu.Lock()
			defer mu.Unlock()
			if i := slices.Index(open, c); i >= 0 {
				open = slices.Delete(open, i, i+1)
			}
		})
		pause := usualPause
		if crowded {
			pause = crowdedPause
		}
		select { // who comes all the time is not let in all the time
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// How long no one is let in after someone was, and after someone had to go for that.
const (
	usualPause   = 2 * time.Millisecond
	crowdedPause = 5 * time.Millisecond
)
