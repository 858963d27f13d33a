package peerfd

import (
	"testing"
	"time"
)

// A goroutine that has many descriptors to close takes the place of several.
func TestFull(t *testing.T) {
	var b Bin
	release := make(chan struct{})
	defer close(release)
	b.later((BinSize-1)*goroutineShare, func() { <-release })
	if b.Full() {
		t.Error("it is full too soon")
	}
	b.later(1, func() { <-release })
	if !b.Full() {
		t.Error("it is not full")
	}
}

// A Bin that is full for a moment is not stuck; one of which nothing is closed is.
func TestStuck(t *testing.T) {
	var b Bin
	release := make(chan struct{})
	for range BinSize {
		b.later(1, func() { <-release })
	}
	if !b.Full() {
		t.Fatal("it is not full")
	}
	begun := time.Now()
	if !b.Stuck() || time.Since(begun) < patience {
		t.Errorf("after %v it is not stuck", time.Since(begun))
	}
	waits := make(chan bool)
	go func() { waits <- b.Stuck() }()
	close(release)
	if <-waits {
		t.Error("it is stuck, though all is closed")
	}
}
