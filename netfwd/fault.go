package netfwd

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// guarded calls f and returns what it panicked with, or nil. The goroutine must
// have debug.SetPanicOnFault set, so that access to memory that vanished panics.
func guarded(f func()) (err error) {
	defer func() { err = caught(recover()) }()
	f()
	return nil
}

// caught makes an error of what recover returned. What is no memory fault is a
// bug of ours and comes with a trace.
func caught(r any) error {
	if r == nil {
		return nil
	}
	err, ok := r.(error)
	if !ok {
		err = fmt.Errorf("%v", r)
	}
	err = fmt.Errorf("forwarding stopped by %w", err)
	if _, inMemory := faultAddress(err); !inMemory {
		err = fmt.Errorf("%w\n%s", err, debug.Stack())
	}
	return err
}

// faultAddress is the address whose access faulted, if that is what err is about.
func faultAddress(err error) (uintptr, bool) {
	var fault interface{ Addr() uintptr }
	if !errors.As(err, &fault) {
		return 0, false
	}
	return fault.Addr(), true
}
