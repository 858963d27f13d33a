package appliance

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStopSignal(t *testing.T) {
	for _, test := range []struct {
		sig  unix.Signal
		name string
	}{{unix.SIGTERM, "terminated"}, {unix.SIGINT, "interrupt"}} {
		ctx, cancel := StopSignal(context.Background())
		if err := unix.Kill(os.Getpid(), test.sig); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%v does not stop", test.sig)
		}
		if cause := context.Cause(ctx); !strings.Contains(cause.Error(), test.name) {
			t.Errorf("the cause %q does not name %v", cause, test.sig)
		}
		cancel()
	}
	ctx, cancel := StopSignal(context.Background())
	cancel()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("cancelled, with the cause %v", cause)
	}
}
