// Package nic is what drivers of NICs have in common, whatever the chip: what they
// give and take (Driver, Card), how one is chosen by a PCI id (Registry), and the port
// that stays the same for those who forward while its card is replaced (Slot).
//
// A driver is a package of its own below this one, or an adapter there. It knows nothing of
// replacing and restarting: it opens a function that is in any state, says when the card does
// not work any more, and can be closed and opened again.
package nic
