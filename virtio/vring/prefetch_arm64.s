#include "textflag.h"
#include "go_asm.h"

// func prefetchHeads(table unsafe.Pointer, ring *uint16, pos, mask uint16, n int)
TEXT ·prefetchHeads(SB), NOSPLIT, $0-32
	MOVD  table+0(FP), R0
	MOVD  ring+8(FP), R1
	MOVHU pos+16(FP), R2
	MOVHU mask+18(FP), R3
	MOVD  n+24(FP), R4

next:
	AND   R3, R2, R2
	ADD   R2<<1, R1, R5
	MOVHU (R5), R6
	AND   R3, R6, R6
	ADD   R6<<4, R0, R6
	PRFM  (R6), PLDL1KEEP
	ADD   $1, R2, R2
	SUB   $1, R4, R4
	CBNZ  R4, next
	RET

// func prefetchUsed(ring unsafe.Pointer, pos, mask uint16, n int)
TEXT ·prefetchUsed(SB), NOSPLIT, $0-24
	MOVD  ring+0(FP), R0
	MOVHU pos+8(FP), R1
	MOVHU mask+10(FP), R2
	MOVD  n+16(FP), R3
	ADD   R1, R3, R3        // the entry behind the last

line:
	AND  R2, R1, R4
	ADD  R4<<3, R0, R4
	PRFM (R4), PSTL1KEEP
	ADD  $8, R1, R1
	CMP  R3, R1
	BLT  line
	SUB  $1, R3, R4         // its line may be one more
	AND  R2, R4, R4
	ADD  R4<<3, R0, R4
	PRFM (R4), PSTL1KEEP
	RET

// func prefetchSrc(ops *Op, n int)
TEXT ·prefetchSrc(SB), NOSPLIT, $0-16
	MOVD ops+0(FP), R0
	MOVD n+8(FP), R1

src:
	MOVD Op_Src(R0), R2
	PRFM (R2), PLDL1KEEP
	ADD  $64, R2, R2
	PRFM (R2), PLDL1KEEP
	ADD  $Op__size, R0, R0
	SUB  $1, R1, R1
	CBNZ R1, src
	RET

// func prefetchDst(ops *Op, n int)
TEXT ·prefetchDst(SB), NOSPLIT, $0-16
	MOVD ops+0(FP), R0
	MOVD n+8(FP), R1

dst:
	MOVD Op_Dst(R0), R2
	PRFM (R2), PSTL1KEEP
	ADD  $64, R2, R2
	PRFM (R2), PSTL1KEEP
	ADD  $Op__size, R0, R0
	SUB  $1, R1, R1
	CBNZ R1, dst
	RET
