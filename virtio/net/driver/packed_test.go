package driver

import "testing"

// Whatever does not look at the bytes of a ring is the same on packed ones.
func TestOnPackedRings(t *testing.T) {
	packedRings = true
	defer func() { packedRings = false }()
	for name, test := range map[string]func(*testing.T){
		"NICReceives":                              TestNICReceives,
		"NICHeldFramesSurviveRefill":               TestNICHeldFramesSurviveRefill,
		"NICReceivesMergedBuffers":                 TestNICReceivesMergedBuffers,
		"NICDropsBrokenFramesAndKeepsTheirBuffers": TestNICDropsBrokenFramesAndKeepsTheirBuffers,
		"NICSends":               TestNICSends,
		"NICJumbo":               TestNICJumbo,
		"NICBurstsDoNotAllocate": TestNICBurstsDoNotAllocate,
		"NICReadsHeaders":        TestNICReadsHeaders,
	} {
		t.Run(name, test)
	}
}
