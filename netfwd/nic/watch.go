package nic

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Opener opens the card of a slot: at the start, and anew whenever it has failed.
type Opener interface {
	// Open opens the card with at most so many queue pairs; failed is Config.Failed. The card
	// that was there before has been closed.
	Open(pairs int, failed func(why error)) (Card, error)
	// Stop makes sure that the function, whose card has been closed, reaches no memory and
	// interrupts no one, whatever its state: the memory is used again. Hard says that opening
	// the card was tried in vain, so that all of the function is to be reset.
	Stop(hard bool) error
}

// Watcher looks after the card in a slot: it follows the link, and restarts a card that has
// failed. Meanwhile the slot is empty. It never gives up: the attempts become rare.
type Watcher struct {
	Slot   *Slot
	OnLink func(up bool) // told of each change
	Log    *zap.Logger

	// LookEvery is in which interval it is looked whether the card hangs: 0 for what is
	// right for hardware.
	LookEvery time.Duration

	delay time.Duration // before the last restart
}

const (
	// delayFirst and delayMost bound the pause before a card is opened again. It doubles
	// unless the card worked for worthwhile times as long.
	delayFirst = 100 * time.Millisecond
	delayMost  = 10 * time.Second
	worthwhile = 5
)

// Run looks after the slot until ctx is done.
func (w *Watcher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if w.Slot.Card() == nil { // it has failed when the machine took the device away
			w.restart(ctx)
			continue
		}
		begin := time.Now()
		why := w.watch(ctx)
		if why == nil {
			continue
		}
		w.Log.Error("the NIC has failed; it is restarted, and has no link meanwhile", zap.Error(why))
		w.closeCard()
		if time.Since(begin) >= worthwhile*w.delay {
			w.delay = 0
		}
		w.restart(ctx)
	}
}

// watch follows the card until ctx is done, or it has failed.
func (w *Watcher) watch(ctx context.Context) (why error) {
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		cancel(w.Slot.awaitFailure(own, cmp.Or(w.LookEvery, lookEvery)))
	}()
	err := w.Slot.Card().Watch(own, func(up bool) {
		w.Log.Info("link changed", zap.Bool("up", up))
		w.Slot.SetLink(up)
		w.OnLink(up)
	})
	if err == nil && own.Err() != nil && ctx.Err() == nil {
		err = context.Cause(own)
	}
	cancel(nil)
	<-stop
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s: its driver does not watch it any more", w.Slot.Info().Name)
	}
	return err
}

// closeCard takes the card that has failed out.
func (w *Watcher) closeCard() {
	w.OnLink(false)
	if err := w.Slot.Remove(); err != nil {
		w.Log.Warn("closing the NIC", zap.Error(err))
	}
}

// restart opens the card until that succeeds, or ctx is done.
func (w *Watcher) restart(ctx context.Context) {
	last := ""
	count := w.Slot.countRestart()
	for attempt := 0; ; attempt++ {
		err := w.Slot.opener.Stop(attempt > 0)
		w.delay = min(max(2*w.delay, delayFirst), delayMost)
		select {
		case <-time.After(w.delay):
		case <-ctx.Done():
			return
		}
		if err == nil {
			var up bool
			if up, err = w.Slot.Open(); err == nil {
				w.Log.Info("the NIC works again", zap.Uint64("restarts", count), zap.Bool("link", up))
				w.OnLink(up)
				return
			}
		}
		if text := err.Error(); text != last {
			last = text
			w.Log.Error("the NIC cannot be restarted yet; trying again", zap.Error(err))
		}
	}
}
