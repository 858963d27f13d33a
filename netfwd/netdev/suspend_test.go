package netdev

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine that was busy between two looks at the clocks, for however long, was not suspended; one that was suspended was, once.
func TestSleepIsNoticed(t *testing.T) {
	const never = -1
	now, slept, call := time.Hour, time.Duration(0), 0
	delay, delayAt := time.Duration(0), never
	w := sleepWatch{clock: func(id int32) time.Duration {
		if now += 50; call == delayAt {
			now += delay
		}
		call++
		if id == unix.CLOCK_BOOTTIME {
			return now + slept
		}
		return now
	}}
	look := func(at int, busy time.Duration) bool {
		now += 2 * time.Second
		call, delayAt, delay = 0, at, busy
		return w.slept()
	}
	if look(1, time.Minute) {
		t.Error("slept before the first look")
	}
	for i := range 20 {
		for _, at := range []int{never, 0, 1, 2} {
			if look(at, time.Minute) {
				t.Fatalf("round %d: slept, but was busy before call %d", i, at)
			}
		}
		slept += time.Duration(i+1) * 100 * time.Millisecond
		if look(never, 0) != true {
			t.Fatalf("round %d: nothing was noticed", i)
		}
		if look(never, 0) {
			t.Fatalf("round %d: noticed again", i)
		}
	}
	real := sleepWatch{clock: kernelClock}
	for range 1000 {
		if real.slept() {
			t.Fatal("this machine was suspended")
		}
	}
	if real.ahead < 0 {
		t.Errorf("the clock that goes on is %v behind", -real.ahead)
	}
}
