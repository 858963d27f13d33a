package noise

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a measurement of distance.
const (
	distanceTime  = 2 * time.Millisecond   // after both threads have met
	distanceLimit = 200 * time.Millisecond // for all of it, where others keep the CPUs busy
	tripsPerBatch = 64                     // between two looks at the clock: some 10 us
	spinsPerLook  = 1 << 12                // of a thread that waits, about as long
)

// line has a cache line for itself, and the one that the processor fetches along.
type line struct {
	_ [128]byte
	n atomic.Uint32 // last trip; odd: on its way back
	_ [128]byte
}

// Distance is how long a cache line takes from one CPU to another, in nanoseconds,
// or -1 if others kept the CPUs too busy to tell. Two threads play ping-pong with
// it for about 2 ms; the median of short batches counts, so that an interrupt or
// another process does not. Virtual CPUs wander over the cores of their host: the
// distance changes by a factor of 6, and whatever two CPUs do together changes
// with it.
func Distance(a, b int) (ns float64, err error) {
	var l line
	var stop atomic.Bool
	deadline := time.Now().Add(distanceLimit)
	answered := make(chan error, 1)
	go onCPU(b, answered, func() { answer(&l, &stop) })
	asked := make(chan error, 1)
	var batches []time.Duration
	go onCPU(a, asked, func() { batches = ask(&l, deadline) })
	err = <-asked
	stop.Store(true)
	if other := <-answered; err == nil {
		err = other
	}
	if err != nil {
		return -1, err
	}
	return oneWay(batches), nil
}

// onCPU does something on a thread that is pinned to a CPU and ends with it.
func onCPU(cpu int, done chan<- error, do func()) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		done <- fmt.Errorf("measure the distance of CPU %d: run there: %w: choose one that nproc and taskset allow", cpu, err)
		return
	}
	do()
	done <- nil
}

// answer sends the line back each time it comes, until told to stop.
func answer(l *line, stop *atomic.Bool) {
	next := uint32(1)
	for spins := 1; ; spins++ {
		if l.n.Load() == next {
			l.n.Store(next + 1)
			next += 2
			spins = 0
		} else if spins%spinsPerLook == 0 && stop.Load() {
			return
		}
	}
}

// ask sends the line away, waits for it and so on, and returns how long each batch
// of trips took. It gives up at the deadline: the other thread may not have come.
func ask(l *line, deadline time.Time) (batches []time.Duration) {
	batches = make([]time.Duration, 0, 1024)
	trip := uint32(0)
	var began, end time.Time
	for len(batches) < cap(batches) {
		before := time.Now()
		switch {
		case began.IsZero() && trip > 0: // they have met, and the first batch was to warm up
			began, end = before, before.Add(distanceTime)
		case !began.IsZero() && before.After(end):
			return batches
		}
		for range tripsPerBatch {
			l.n.Store(trip + 1)
			trip += 2
			for spins := 1; l.n.Load() != trip; spins++ {
				if spins%spinsPerLook == 0 && time.Now().After(deadline) {
					return batches
				}
			}
		}
		if !began.IsZero() {
			batches = append(batches, time.Since(before))
		}
	}
	return batches
}

// oneWay is the median time of one way in nanoseconds; -1 if there is no batch.
func oneWay(batches []time.Duration) float64 {
	if len(batches) == 0 {
		return -1
	}
	slices.Sort(batches)
	return float64(batches[len(batches)/2].Nanoseconds()) / (2 * tripsPerBatch)
}
