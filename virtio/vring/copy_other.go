//go:build race || !amd64

package vring

func copyOps(ops []Op, head uint64, word uint32) (total uint64) { return copyPlainly(ops, head, word) }
