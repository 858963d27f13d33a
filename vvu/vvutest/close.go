package vvutest

import (
	"errors"
	"os"
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
)

// AwaitClose waits until the other side has closed a front-end's connection.
func AwaitClose(t *testing.T, c *vhostuser.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(Patience))
	if m, err := c.ReadMessage(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is not closed: %v, %v", m, err)
	}
}
