// Package loopbacktest is a vhost-user back-end for tests: it forwards frames
// between two sockets, right or, when told to, wrong. It is made of the
// project's own device side of rings and protocol state machine, is built to be
// understood and not to be fast, and trusts its peer.
package loopbacktest
