package hostile

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// wire is a connection to a vhost-user socket over which anything can be said.
type wire struct{ sock *net.UnixConn }

func dial(path string) (*wire, error) {
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return &wire{sock}, nil
}

func (w *wire) close() { w.sock.Close() }

// raw sends bytes, with file descriptors if there are any.
func (w *wire) raw(b []byte, fds ...int) error {
	w.sock.SetWriteDeadline(time.Now().Add(patience))
	return peerfd.Send(w.sock, b, fds...)
}

// header is a message header with whatever numbers.
func header(r vhostuser.Request, flags, size uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(r))
	b = binary.LittleEndian.AppendUint32(b, flags)
	return binary.LittleEndian.AppendUint32(b, size)
}

// say sends a well-formed message.
func (w *wire) say(r vhostuser.Request, p vhostuser.Payload, fds ...int) error {
	return w.raw(vhostuser.NewRequest(r, p).Append(nil), fds...)
}

// hear reads one message.
func (w *wire) hear() (r vhostuser.Request, payload []byte, err error) {
	w.sock.SetReadDeadline(time.Now().Add(patience))
	var head [vhostuser.HeaderSize]byte
	if _, err := io.ReadFull(w.sock, head[:]); err != nil {
		return 0, nil, err
	}
	h, err := vhostuser.ParseHeader(head[:])
	if err != nil {
		return 0, nil, err
	}
	if h.Flags != vhostuser.ReplyFlags {
		return 0, nil, fmt.Errorf("%v comes with flags %#x, want %#x", h.Request, h.Flags, vhostuser.ReplyFlags)
	}
	payload = make([]byte, h.Size)
	_, err = io.ReadFull(w.sock, payload)
	return h.Request, payload, err
}

// ask sends a message and reads on until its answer.
func (w *wire) ask(r vhostuser.Request, p vhostuser.Payload) ([]byte, error) {
	if err := w.say(r, p); err != nil {
		return nil, err
	}
	for {
		got, payload, err := w.hear()
		if err != nil {
			return nil, fmt.Errorf("wait for the answer to %v: %w", r, err)
		}
		if got == r {
			return payload, nil
		}
	}
}

// listening waits until the other side has carried out what was said to it, or has
// ended the session, and returns how many answers to a request came meanwhile. An
// error is neither of the two.
func (w *wire) listening(request vhostuser.Request) (answers int, err error) {
	question := vhostuser.GetQueueNum
	if request == question {
		question = vhostuser.GetFeatures
	}
	err = w.say(question, nil)
	for err == nil {
		var got vhostuser.Request
		if got, _, err = w.hear(); err == nil && got == question {
			return answers, nil
		}
		if err == nil && got == request {
			answers++
		}
	}
	if vhostuser.PeerClosed(err) {
		err = nil
	}
	return answers, err
}
