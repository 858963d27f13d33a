// Package netdevtest has what tests of ports over the kernel's interfaces share: a network
// namespace of their own, and checks that every kind has to pass.
package netdevtest
