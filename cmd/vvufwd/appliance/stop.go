package appliance

import (
	"context"
	"os/signal"

	"golang.org/x/sys/unix"
)

// StopSignal returns a context that ends at the first SIGTERM or SIGINT; its cause
// names the signal. Under Supervise an Enter on the console comes as SIGTERM too.
// From then on signals act as usual again, so a second one kills a program that does
// not manage to stop. Calling cancel gives the resources back.
func StopSignal(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = signal.NotifyContext(parent, unix.SIGTERM, unix.SIGINT)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}
