package vhostuser

import (
	"strings"
	"testing"

	"vvufwd/virtio/peerfd/peerfdtest"
)

// A peer can leave files on their way to us that take as long to close as it likes, and
// closing the connection closes them. Whoever closes it holds a lock, or has others to
// serve: he does not wait.
func TestCloseDoesNotWaitForFilesOnTheirWay(t *testing.T) {
	conn, peer := socketPair(t)
	peerfdtest.SendLingering(t, peer, []byte{0}, 1)
	peerfdtest.InTime(t, "closing", func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	if n, err := peer.Read(make([]byte, 1)); n > 0 || !PeerClosed(err) {
		t.Errorf("the peer reads %d bytes, %v, want to see the end", n, err)
	}
}

// What no message has a place for is not closed by who reads.
func TestReadDoesNotWaitForFilesThatNoOneWants(t *testing.T) {
	wire := NewRequest(SetVringCall, VringFD{Index: 1}).Append(nil)
	t.Run("with the payload", func(t *testing.T) {
		conn, peer := socketPair(t)
		if _, err := peer.Write(wire[:HeaderSize]); err != nil {
			t.Fatal(err)
		}
		peerfdtest.SendLingering(t, peer, wire[HeaderSize:], 1)
		peerfdtest.InTime(t, "reading", func() {
			if m, err := conn.ReadMessage(); err != nil || len(m.FDs) > 0 {
				t.Errorf("%v with %d descriptors, %v", m, len(m.FDs), err)
			}
		})
	})
	for name, descriptors := range map[string]int{"too many": MaxFDs + 1, "as many as the kernel passes": 253} {
		t.Run(name, func(t *testing.T) {
			conn, peer := socketPair(t)
			peerfdtest.SendLingering(t, peer, wire, descriptors)
			peerfdtest.InTime(t, "reading", func() {
				if m, err := conn.ReadMessage(); err == nil || !strings.Contains(err.Error(), "the limit is") {
					t.Errorf("%v with %d descriptors, %v", m, len(m.FDs), err)
				}
			})
		})
	}
}

// The kernel closes, within the read, what the process has no room for. That keeps neither who closes the connection nor
// who waits for a message.
func TestCloseDoesNotWaitForTheKernel(t *testing.T) {
	conn, peer := socketPair(t)
	peerfdtest.SendLingering(t, peer, NewRequest(SetOwner, nil).Append(nil), 1)
	peerfdtest.LeaveRoom(t, 0)
	read := make(chan error, 1)
	go func() {
		_, err := conn.ReadMessage()
		read <- err
	}()
	peerfdtest.AwaitTaken(t, peer)
	peerfdtest.InTime(t, "closing", func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	peerfdtest.InTime(t, "reading", func() {
		if err := <-read; !PeerClosed(err) {
			t.Errorf("who reads hears %v", err)
		}
	})
	if n, err := peer.Read(make([]byte, 1)); n > 0 || !PeerClosed(err) {
		t.Errorf("the peer reads %d bytes, %v, want to see the end", n, err)
	}
}
