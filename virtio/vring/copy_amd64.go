//go:build !race

package vring

import "golang.org/x/sys/cpu"

// copyAVX copies n > 0 ops, see CopyOps.
//
//go:noescape
func copyAVX(ops *Op, n int, head uint64, word uint32) (total uint64)

var hasAVX = cpu.X86.HasAVX

func copyOps(ops []Op, head uint64, word uint32) (total uint64) {
	if !hasAVX {
		return copyPlainly(ops, head, word)
	}
	return copyAVX(&ops[0], len(ops), head, word)
}
