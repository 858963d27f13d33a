// Package igb drives Intel's 82576 and its successors, physical functions without virtual ones:
// up to eight queue pairs, checksums and segments of TCP by the chip. "82576" is the datasheet
// of the first, cited by chapter.
//
// Ports with fibre or a backplane are other ids, and not known here: they have no PHY that
// negotiates.
package igb
