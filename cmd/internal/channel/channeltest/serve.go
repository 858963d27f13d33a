// Package channeltest helps tests of what is served at a channel.
package channeltest

import (
	"context"
	"path/filepath"
	"testing"

	"vvufwd/cmd/internal/channel"
)

// Serve has something served at a socket until the test ends, and returns where.
func Serve(t *testing.T, serve func(ctx context.Context, l *channel.Listener)) channel.Address {
	t.Helper()
	a := channel.Address{Kind: channel.UNIX, Path: filepath.Join(t.TempDir(), "s")}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		serve(ctx, l)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return a
}
