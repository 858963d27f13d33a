package netfwd

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
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

// contain fails those ports in whose peer's memory a fault struck, and
// lets the others recover from what it broke off. If it is no one's memory, those
// fail that were at work. It returns the ports that have failed.
func contain(ports, atWork []*member, err error) (names []Port) {
	var failed []*member
	addr, inMemory := faultAddress(err)
	for _, port := range ports {
		if inMemory && port.Owns(addr) {
			failed = append(failed, port)
		}
	}
	if failed == nil {
		failed = append(failed, atWork...)
	}
	guilty := len(failed)
	for _, port := range failed {
		port.Fail(err)
	}
	for _, port := range ports {
		if slices.Contains(failed[:guilty], port) {
			continue
		}
		if again := guarded(port.Recover); again != nil { // its memory is gone as well
			port.Fail(again)
			failed = append(failed, port)
		}
	}
	for _, port := range failed {
		names = append(names, port.Port)
	}
	return names
}
