package session

import "errors"

// Bounce ends a session as far as a device that may go on with the same
// front-end has ended it: rings are stopped, memory is gone, and what was
// negotiated stays until it is clear that another front-end has come (see
// vhostuser.Backend).
func (s *Session) Bounce() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauseAll()
	err := s.unmap()
	s.backend.Bounce()
	s.installChanged()
	return err
}

// Reset ends a session: the next message is another front-end's.
func (s *Session) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	s.leave()
	err := errors.Join(s.unmap(), s.endInflight())
	s.backend.Reset()
	return err
}
