//go:build !race

#include "textflag.h"
#include "go_asm.h"

// PREFETCHW (DX) and 64(DX), which the assembler does not know.
#define PREFETCHW_DX    BYTE $0x0f; BYTE $0x0d; BYTE $0x0a
#define PREFETCHW_DX_64 BYTE $0x0f; BYTE $0x0d; BYTE $0x4a; BYTE $0x40

// How many ops ahead lines are asked for that are written. Stores go out one after the other, and would wait for each line;
// loads of later ops begin while earlier ones wait, and asking for their lines, too, costs half a nanosecond a frame.
#define AHEAD 6

// func copyAVX(ops *Op, n int, head uint64, word uint32) (total uint64)
//
// A fault in here is a panic for the caller as one in memmove is. The upper halves of the
// vector registers are not cleared then, which costs time and nothing else.
//
// R8 op, R9 ops left, R10 head, R11 word, R12 total, SI source, DI destination, CX length.
TEXT ·copyAVX(SB), NOSPLIT, $0-40
	MOVQ ops+0(FP), R8
	MOVQ n+8(FP), R9
	MOVQ head+16(FP), R10
	MOVL word+24(FP), R11
	XORQ R12, R12
	XORQ R13, R13

	// The lines of the first ops.
	MOVQ    $AHEAD, BX
	CMPQ    R9, BX
	CMOVQLT R9, BX
	MOVQ    R8, AX

first:
	MOVQ Op_Dst(AX), DX
	PREFETCHW_DX
	PREFETCHW_DX_64
	ADDQ $Op__size, AX
	DECQ BX
	JNZ  first

op:
	CMPQ R9, $AHEAD
	JLE  here
	MOVQ (AHEAD*Op__size+Op_Dst)(R8), DX
	PREFETCHW_DX
	PREFETCHW_DX_64

here:
	MOVQ Op_Src(R8), SI
	MOVQ Op_Dst(R8), DI
	MOVL Op_N(R8), CX
	MOVQ R13, (DI)
	MOVL R11, 8(DI)
	ADDQ R10, DI
	ADDQ CX, R12
	CMPQ CX, $64
	JB   small

	// All but the last 64 bytes, then these.
	LEAQ    -64(SI)(CX*1), AX
	LEAQ    -64(DI)(CX*1), BX
	CMPQ    DI, BX
	JAE     last

chunk:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	ADDQ    $64, SI
	ADDQ    $64, DI
	CMPQ    DI, BX
	JB      chunk

last:
	VMOVDQU (AX), Y0
	VMOVDQU 32(AX), Y1
	VMOVDQU Y0, (BX)
	VMOVDQU Y1, 32(BX)

next:
	ADDQ $Op__size, R8
	DECQ R9
	JNZ  op
	VZEROUPPER
	MOVQ R12, total+32(FP)
	RET

	// Two pieces that overlap.
small:
	CMPQ    CX, $32
	JB      small16
	VMOVDQU (SI), Y0
	VMOVDQU -32(SI)(CX*1), Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, -32(DI)(CX*1)
	JMP     next

small16:
	CMPQ    CX, $16
	JB      small8
	VMOVDQU (SI), X0
	VMOVDQU -16(SI)(CX*1), X1
	VMOVDQU X0, (DI)
	VMOVDQU X1, -16(DI)(CX*1)
	JMP     next

small8:
	CMPQ CX, $8
	JB   bytes
	MOVQ (SI), AX
	MOVQ -8(SI)(CX*1), BX
	MOVQ AX, (DI)
	MOVQ BX, -8(DI)(CX*1)
	JMP  next

bytes:
	TESTQ CX, CX
	JZ    next
	MOVB  -1(SI)(CX*1), AX
	MOVB  AX, -1(DI)(CX*1)
	DECQ  CX
	JMP   bytes
