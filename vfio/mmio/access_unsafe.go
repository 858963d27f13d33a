package mmio

import "unsafe"

// The accessors below must not be inlined: a call is what keeps the compiler
// from merging, splitting, dropping or repeating the access inside it, under the
// race detector too. (Builds with -gcflags=-N check the pointer by reading a byte
// first: not for use with devices.)

//go:noinline
//go:norace
func load8(p *uint8) uint8 { return *p }

//go:noinline
//go:norace
func load16(p *uint16) uint16 { return *p }

//go:noinline
//go:norace
func load32(p *uint32) uint32 { return *p }

//go:noinline
//go:norace
func store8(p *uint8, v uint8) { *p = v }

//go:noinline
//go:norace
func store16(p *uint16, v uint16) { *p = v }

//go:noinline
//go:norace
func store32(p *uint32, v uint32) { *p = v }

// pointer16 and pointer32 point at off in mem. The caller has checked that the
// whole register lies within mem.

func pointer16(mem []byte, off uint64) *uint16 { return (*uint16)(unsafe.Pointer(&mem[off])) }

func pointer32(mem []byte, off uint64) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }
