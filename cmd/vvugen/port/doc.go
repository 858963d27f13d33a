// Package port plays the app VM's side of a vhost-user connection: it owns the
// memory and the two rings of one queue pair, hands them to a back-end and
// exposes them as a transmitter and a receiver that a busy loop polls.
//
// Everything that a back-end can write, used rings and receive buffers, is
// hostile: indices, ids and lengths are copied once, checked and then used. The
// memory itself is sealed, so that no back-end can shrink it under us.
package port
