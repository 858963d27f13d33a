// Package hostile attacks a running vvudev, built as it is shipped but for system calls
// that are refused, which kill it, through both of its sockets.
//
// At the front-end's socket: eventfds that are sabotaged while they are used, descriptors
// of all kinds, garbage, floods and messages that stop in the middle. A stand-in for the
// driver VM goes on meanwhile, with the real driver of package vvu in it: every access to a register
// is answered promptly, and when the attack is over an app VM exchanges frames with it.
//
// At the monitor's socket: interrupts' eventfds that are sabotaged, descriptors of all
// kinds, garbage, half messages, and memory whose file vanishes. A front-end that waits meanwhile
// is served by the next driver VM.
//
// In the end vvudev has the descriptors and threads that it had in the beginning, and
// stops when it is told to.
package hostile
