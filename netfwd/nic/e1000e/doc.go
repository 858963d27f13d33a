// Package e1000e drives Intel's 82574L, which QEMU emulates as e1000e: two queue pairs, checksums
// and segments of TCP by the chip. "82574" is its datasheet, cited by chapter.
//
// Of the chips that Linux's e1000e drives this is the one with MSI-X, and so with an
// interrupt for each ring; the others (82571 to 82573, 82583, and those in chipsets, such as I217)
// have one interrupt at most, and no place for the second queue.
package e1000e
