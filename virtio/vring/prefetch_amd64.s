#include "textflag.h"

// func prefetchHeads(table unsafe.Pointer, ring *uint16, pos, mask uint16, n int)
TEXT ·prefetchHeads(SB), NOSPLIT, $0-32
	MOVQ    table+0(FP), DI
	MOVQ    ring+8(FP), SI
	MOVWLZX pos+16(FP), AX
	MOVWLZX mask+18(FP), DX
	MOVQ    n+24(FP), CX

next:
	ANDL       DX, AX
	MOVWLZX    (SI)(AX*2), BX
	ANDL       DX, BX
	SHLQ       $4, BX
	PREFETCHT0 (DI)(BX*1)
	INCL       AX
	DECQ       CX
	JNZ        next
	RET
