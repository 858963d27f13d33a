//go:build !race

#include "textflag.h"

// Devices that are not the hypervisor's, hardware, are observers of the outer shareable domain; a
// store-release knows the inner one only. So the domain of barriers is the outer one, as in Linux' dma_wmb.

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
