package shadow_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mirrored is what a guest can do to a driver VM (the device's contract, section 8), row by row, and what is its like that a driver VM can do to
// vvudev, whose rings' used side it writes; with the tests that do it. Where nothing is like it, that is because vvudev says
// where rings and buffers are, and the driver VM never does.
var mirrored = []struct{ guests, driverVMs, tests string }{
	{"avail.idx far ahead", "used.idx ahead, behind, of what was never sent", "TestBrokenRings"},
	{"avail entry beyond the ring", "used id beyond the ring, not outstanding, twice", "TestBrokenRings"},
	{"next index loop", "num_buffers of 0, or more than there are, without end", "TestBrokenFrames"},
	{"indirect table re-read", "descriptors written to that it should only read", "TestDescriptorsAreNeverReadBack"},
	{"desc.len re-read between sum and map", "used lengths and headers that change meanwhile", "TestScribbler FuzzHostileDevice"},
	{"total length overflow", "used lengths of 2^32-1, frames of more than 64 KiB in many buffers", "TestBrokenRings TestBrokenFrames"},
	{"zero-length descriptors, tiny chains", "used lengths of 0, shorter than a header, runts", "TestBrokenFrames"},
	{"read-only descriptor in RX, writable in TX", "lengths written to buffers that are only read", "TestLengthOfWhatWasRead"},
	{"address outside regions", "none: where a buffer is is never read from the region", "TestDescriptorsAreNeverReadBack"},
	{"buffer that crosses regions", "none, as above", "TestDescriptorsAreNeverReadBack"},
	{"ring memory that overlaps buffers", "frames and rings overwritten with one another", "TestScribbler"},
	{"ring index beyond the last", "an answer for another ring", "TestBrokenFarewell"},
	{"GET_VRING_BASE index", "a ring's place that cannot be", "TestBrokenFarewell"},
	{"SET_VRING_NUM repeated", "answers that no one has asked for", "TestBrokenAnswers"},
	{"SET_VRING_ADDR before the memory table", "answers in another order", "TestBrokenAnswers"},
	{"table swapped while polling", "none: the region stays; a driver VM that goes at any time", "TestEveryOrder"},
	{"oversized regions", "a region resized, or sealed, by who has it", "TestRegionKeepsItsSize"},
	{"huge message, wrong size", "answers too short, too long", "TestBrokenAnswers TestBrokenFarewell"},
	{"message flood", "sessions ended one after the other", "TestPauses TestBrokenAnswers"},
	{"need_reply misuse", "requests in place of replies, no reply at all", "TestBrokenAnswers"},
	{"kick storm", "doorbells without end", "TestBellStorm"},
	{"offload metadata", "checksums, segments and header lengths beyond the frame", "TestBrokenFrames"},
	{"runt and giant frames, spoofed addresses", "the same frames; addresses are the network's to forge anyway", "TestBrokenFrames"},
	{"features that are not there", "no VERSION_1, more queue pairs than there are", "TestBrokenAnswers TestBoastfulDriver"},
	{"RAM that vanishes", "none: the region is sealed", "TestRegionKeepsItsSize"},
	{"none: it is the guest's memory", "the app VM's memory, beyond frames", "TestNothingButFramesIsShown TestNotAByteMore TestMappings"},
	{"none", "frames of the app VM before", "TestNothingIsLeftForTheNextAppVM"},
	{"one guest at another's cost", "one driver VM at another's", "TestDriverVMsShareTheLoopFairly TestDriverVMScribblesOverItsShadow"},
}

// Each row of the contract has a test on the used side.
func TestEveryRowIsMirrored(t *testing.T) {
	var tests []byte
	for _, dir := range []string{".", "../../cmd/vvudev/hostile", "../../virtio/vring", "../../virtio/net/driver"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			tests = append(tests, text...)
		}
	}
	for _, row := range mirrored {
		for name := range strings.FieldsSeq(row.tests) {
			if !bytes.Contains(tests, []byte("\nfunc "+name+"(")) {
				t.Errorf("%s: there is no %s", row.driverVMs, name)
			}
		}
	}
}
