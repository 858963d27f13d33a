#include "textflag.h"
#include "go_asm.h"

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

// PREFETCHW (SI)(BX*8), which the assembler does not know.
#define PREFETCHW_SI_BX8 BYTE $0x0f; BYTE $0x0d; BYTE $0x0c; BYTE $0xde

// func prefetchUsed(ring unsafe.Pointer, pos, mask uint16, n int)
TEXT ·prefetchUsed(SB), NOSPLIT, $0-24
	MOVQ    ring+0(FP), SI
	MOVWLZX pos+8(FP), AX
	MOVWLZX mask+10(FP), DX
	MOVQ    n+16(FP), CX
	ADDL    AX, CX          // the entry behind the last

line:
	MOVL AX, BX
	ANDL DX, BX
	PREFETCHW_SI_BX8
	ADDL $8, AX
	CMPL AX, CX
	JLT  line
	LEAL -1(CX), BX         // its line may be one more
	ANDL DX, BX
	PREFETCHW_SI_BX8
	RET

#define PREFETCHW_AX    BYTE $0x0f; BYTE $0x0d; BYTE $0x08
#define PREFETCHW_AX_64 BYTE $0x0f; BYTE $0x0d; BYTE $0x48; BYTE $0x40

// func prefetchSrc(ops *Op, n int)
TEXT ·prefetchSrc(SB), NOSPLIT, $0-16
	MOVQ ops+0(FP), SI
	MOVQ n+8(FP), CX

src:
	MOVQ       Op_Src(SI), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	ADDQ       $Op__size, SI
	DECQ       CX
	JNZ        src
	RET

// func prefetchDst(ops *Op, n int)
TEXT ·prefetchDst(SB), NOSPLIT, $0-16
	MOVQ ops+0(FP), SI
	MOVQ n+8(FP), CX

dst:
	MOVQ Op_Dst(SI), AX
	PREFETCHW_AX
	PREFETCHW_AX_64
	ADDQ $Op__size, SI
	DECQ CX
	JNZ  dst
	RET
