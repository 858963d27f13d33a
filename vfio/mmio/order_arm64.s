#include "textflag.h"

// func beforeStore()
TEXT ·beforeStore(SB), NOSPLIT|NOFRAME, $0-0
	DMB	$0x2	// OSHST
	RET

// func afterLoad()
TEXT ·afterLoad(SB), NOSPLIT|NOFRAME, $0-0
	DMB	$0x1	// OSHLD
	RET
