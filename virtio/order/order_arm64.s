//go:build !race

#include "textflag.h"

// Who looks may be hardware, outside of the inner shareable domain that processors are in. So barriers are
// for the outer one, as Linux' dma_wmb is, and stores have one more before them.

// func StoreRelease16(p *uint16, v uint16)
TEXT ·StoreRelease16(SB), NOSPLIT, $0-10
	MOVD p+0(FP), R0
	MOVHU v+8(FP), R1
	DMB $0x2 // OSHST
	STLRH R1, (R0)
	RET

// func StoreRelease32(p *uint32, v uint32)
TEXT ·StoreRelease32(SB), NOSPLIT, $0-12
	MOVD p+0(FP), R0
	MOVWU v+8(FP), R1
	DMB $0x2 // OSHST
	STLRW R1, (R0)
	RET

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $0-0
	DMB $0x3 // OSH
	RET
