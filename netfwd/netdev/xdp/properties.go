package xdp

import "fmt"

// Mode is how frames get from the driver to a socket.
type Mode string

// Modes, in the order in which they are tried.
const (
	ZeroCopy Mode = "zerocopy" // the NIC reads and writes the umem
	Native   Mode = "copy"     // the driver runs the program, and the kernel copies
	Generic  Mode = "generic"  // the kernel runs the program when it has made an skb
)

// ParseMode reads what is insisted on.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case ZeroCopy, Native, Generic:
		return m, nil
	}
	return "", fmt.Errorf("mode=%s: want %s, %s or %s", s, ZeroCopy, Native, Generic)
}

// properties are what Open has found and agreed upon with the kernel, for New.
type properties struct {
	Index    int    // of the interface
	Name     string // that it had
	Driver   string // the kernel's, if it tells
	Mode     Mode
	Why      string // it is not an earlier one; empty if it is the first
	Queues   int
	Chunk    uint32 // bytes of a chunk
	Parts    bool   // frames may be in several chunks
	Metadata bool   // the kernel completes checksums in what is sent
}

// maxMTU is the largest MTU whose frames pass, in bytes; 0: any.
func (p *properties) maxMTU() int {
	if p.Parts {
		return 0
	}
	return mtuOf(layout{p.Chunk}.room())
}
