#include "textflag.h"

// func storeRelease(p *uint32, v uint32)
// Stores are not reordered with earlier loads and stores on amd64 (TSO).
TEXT ·storeRelease(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL v+8(FP), BX
	MOVL BX, (AX)
	RET
