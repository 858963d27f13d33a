package vhostuser

import "fmt"

// Refusal is the error of [Backend.Handle] for a well-formed message that cannot
// be carried out. The message has had no effect but those returned with it, the
// front-end has been told if it asked, and the session goes on.
type Refusal struct {
	Request Request
	Reason  string
}

func (e *Refusal) Error() string { return fmt.Sprintf("%v refused: %s", e.Request, e.Reason) }

// Violation is the error of [Backend.Handle] for a message that breaks the
// protocol: malformed, unknown or never negotiated. The session is over; what
// follows from a peer that no longer agrees with us about the format cannot be
// trusted. See Backend for what the caller does.
type Violation struct {
	Request Request
	Reason  string
}

func (e *Violation) Error() string {
	return fmt.Sprintf("vhost-user protocol violation: %v: %s", e.Request, e.Reason)
}

func refuse(m Message, format string, args ...any) error {
	return &Refusal{Request: m.Request, Reason: fmt.Sprintf(format, args...)}
}

func violate(m Message, format string, args ...any) error {
	return &Violation{Request: m.Request, Reason: fmt.Sprintf(format, args...)}
}
