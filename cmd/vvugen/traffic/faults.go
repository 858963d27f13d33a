package traffic

// Kind is a way in which a frame arrived wrong.
type Kind uint8

// Kinds of faults. Lost ones are known only at the end.
const (
	Lost Kind = iota
	Duplicated
	Reordered
	WrongLength
	Foreign
	Corrupt
	Unsent
	Malformed
	kinds
)

var kindNames = [kinds]string{
	Lost:        "lost",
	Duplicated:  "duplicated",
	Reordered:   "reordered",
	WrongLength: "wrong length",
	Foreign:     "foreign headers",
	Corrupt:     "corrupt",
	Unsent:      "never sent",
	Malformed:   "malformed buffer",
}

var kindMeanings = [kinds]string{
	Lost:        "sent, never received",
	Duplicated:  "received again, or later than 65536 frames after its turn",
	Reordered:   "received after a later frame",
	WrongLength: "longer or shorter than sent",
	Foreign:     "Ethernet, IPv4 or UDP header is not one of ours",
	Corrupt:     "check of number, stamp and payload fails",
	Unsent:      "carries a number that has not been sent yet",
	Malformed:   "the back-end's vnet header or used length is impossible",
}

func (k Kind) String() string { return kindNames[k] }

// Meaning explains the kind in a few words.
func (k Kind) Meaning() string { return kindMeanings[k] }

// Kinds returns all kinds in the order in which a report shows them.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Fault counts one kind.
type Fault struct {
	Count uint64
	First uint64 // sequence number that was expected, or found, at the first one; 0 if unknown
}

// Faults counts every kind.
type Faults [kinds]Fault

func (f *Faults) add(k Kind, at uint64) {
	if f[k].Count++; f[k].Count == 1 {
		f[k].First = at
	}
}

// Any reports whether anything was wrong.
func (f *Faults) Any() bool {
	for i := range f {
		if f[i].Count != 0 {
			return true
		}
	}
	return false
}
