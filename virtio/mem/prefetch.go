//go:build amd64 || arm64

package mem

// CacheLine is the unit in which memory moves between cores, in bytes.
const CacheLine = 64

// PrefetchRead asks for the first lines cache lines of every view, to be read
// soon. A line that another core has written takes hundreds of nanoseconds to
// arrive; asked for together, a burst's lines arrive almost together. It is a
// hint: it never faults, whatever became of the memory.
//
//go:noescape
func PrefetchRead(views [][]byte, lines int)

// PrefetchWrite is PrefetchRead for memory that will be written.
//
//go:noescape
func PrefetchWrite(views [][]byte, lines int)
