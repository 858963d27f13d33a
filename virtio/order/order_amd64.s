//go:build !race

#include "textflag.h"

// func StoreRelease16(p *uint16, v uint16)
// Stores are not reordered with earlier loads and stores on amd64 (TSO).
TEXT ·StoreRelease16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), AX
	MOVW v+8(FP), BX
	MOVW BX, (AX)
	RET

// func StoreRelease32(p *uint32, v uint32)
TEXT ·StoreRelease32(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL v+8(FP), BX
	MOVL BX, (AX)
	RET

// func Fence()
// A locked operation orders stores before later loads, also for write-combined
// memory, and costs about a third of MFENCE.
TEXT ·Fence(SB), NOSPLIT, $8-0
	LOCK
	ADDL $0, 0(SP)
	RET
