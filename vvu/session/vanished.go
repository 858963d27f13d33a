package session

import "fmt"

// Vanished turns what recover returned into an error if it is a fault of memory
// that a front-end took away: goroutines that touch such memory run with
// debug.SetPanicOnFault. Anything else is a bug of ours and goes on panicking.
func Vanished(recovered any) error {
	fault, ok := recovered.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(recovered)
	}
	return fmt.Errorf("the front-end's memory vanished: %w", fault)
}
