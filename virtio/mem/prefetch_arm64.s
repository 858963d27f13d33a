#include "textflag.h"

// The three words of a slice header are its base, length and capacity.

#define PREFETCH_BODY(NEXTVIEW, NEXTLINE, SKIP, DONE, KIND) \
	MOVD views_base+0(FP), R0   \
	MOVD views_len+8(FP), R1    \
	MOVD lines+24(FP), R2       \
	LSL  $6, R2, R2             \
	CMP  $0, R1                 \
	BLE  DONE                   \
NEXTVIEW:                       \
	MOVD 0(R0), R3              \
	MOVD 8(R0), R4              \
	CMP  R2, R4                 \
	CSEL GT, R2, R4, R4         \
	ADD  R3, R4, R4             \
	AND  $~63, R3, R3           \
NEXTLINE:                       \
	CMP  R4, R3                 \
	BHS  SKIP                   \
	PRFM (R3), KIND             \
	ADD  $64, R3, R3            \
	B    NEXTLINE               \
SKIP:                           \
	ADD  $24, R0, R0            \
	SUB  $1, R1, R1             \
	CBNZ R1, NEXTVIEW           \
DONE:                           \
	RET

// func PrefetchRead(views [][]byte, lines int)
TEXT ·PrefetchRead(SB), NOSPLIT, $0-32
	PREFETCH_BODY(readView, readLine, readSkip, readDone, PLDL1KEEP)

// func PrefetchWrite(views [][]byte, lines int)
TEXT ·PrefetchWrite(SB), NOSPLIT, $0-32
	PREFETCH_BODY(writeView, writeLine, writeSkip, writeDone, PSTL1KEEP)
