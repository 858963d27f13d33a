package vvu

import (
	"context"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Unix(1000, 0)
	next := func(after time.Duration) time.Duration {
		now = now.Add(after)
		return b.delay(now)
	}
	for i := range backoffFree {
		if d := next(time.Second); d != 0 {
			t.Errorf("event %d waits %v, the first %d are free", i+1, d, backoffFree)
		}
	}
	want := backoffFirst
	for i := range 40 { // far beyond where a shift would overflow
		if d := next(time.Second); d != want {
			t.Errorf("event %d waits %v, want %v", backoffFree+1+i, d, want)
		}
		want = min(2*want, backoffMost)
	}
	if d := next(backoffQuiet); d != backoffMost {
		t.Errorf("an event after just %v waits %v", backoffQuiet, d)
	}
	for i := range backoffFree {
		if d := next(backoffQuiet + time.Nanosecond); d != 0 {
			t.Errorf("event %d after a quiet time waits %v", i+1, d)
		}
	}
}

func TestBackoffWait(t *testing.T) {
	b := backoff{last: time.Now(), count: backoffFree}
	began := time.Now()
	b.wait(context.Background())
	if took := time.Since(began); took < backoffFirst {
		t.Errorf("waited %v, want %v", took, backoffFirst)
	}
	if b.last.Before(began.Add(backoffFirst)) {
		t.Error("the wait itself counts as quiet time")
	}
	b.count = 100
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began = time.Now()
	b.wait(ctx)
	if took := time.Since(began); took >= backoffMost {
		t.Errorf("waited %v after the end of the context", took)
	}
}
