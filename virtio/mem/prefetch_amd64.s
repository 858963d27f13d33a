#include "textflag.h"

// The three words of a slice header are its base, length and capacity.

// PREFETCHW (AX), which the assembler does not know.
#define PREFETCHW_AX BYTE $0x0f; BYTE $0x0d; BYTE $0x08
#define PREFETCHR_AX PREFETCHT0 (AX)

#define PREFETCH_BODY(NEXTVIEW, NEXTLINE, SKIP, DONE, TOUCH) \
	MOVQ  views_base+0(FP), SI  \
	MOVQ  views_len+8(FP), CX   \
	MOVQ  lines+24(FP), DX      \
	SHLQ  $6, DX                \
	TESTQ CX, CX                \
	JLE   DONE                  \
NEXTVIEW:                       \
	MOVQ  0(SI), AX             \
	MOVQ  8(SI), BX             \
	CMPQ  BX, DX                \
	CMOVQGT DX, BX              \
	ADDQ  AX, BX                \
	ANDQ  $~63, AX              \
NEXTLINE:                       \
	CMPQ  AX, BX                \
	JCC   SKIP                  \
	TOUCH                       \
	ADDQ  $64, AX               \
	JMP   NEXTLINE              \
SKIP:                           \
	ADDQ  $24, SI               \
	DECQ  CX                    \
	JNZ   NEXTVIEW              \
DONE:                           \
	RET

// func PrefetchRead(views [][]byte, lines int)
TEXT ·PrefetchRead(SB), NOSPLIT, $0-32
	PREFETCH_BODY(readView, readLine, readSkip, readDone, PREFETCHR_AX)

// func PrefetchWrite(views [][]byte, lines int)
TEXT ·PrefetchWrite(SB), NOSPLIT, $0-32
	PREFETCH_BODY(writeView, writeLine, writeSkip, writeDone, PREFETCHW_AX)
