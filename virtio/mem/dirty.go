package mem

import (
	"errors"
	"fmt"
	"sort"
)

// DirtyPage is the unit of a dirty log in bytes, whatever the pages of the guest or of
// this machine are (vhost-user, "Migration").
const DirtyPage = 4096

// ErrLogTooSmall reports a log that does not reach to the end of guest memory.
var ErrLogTooSmall = errors.New("the dirty log is too small for the guest's memory")

// DirtyLog is where a monitor that migrates its guest learns which pages we have written
// to: bit a/4096 of a bitmap, counted from the lowest bit of the first byte, stands for
// guest-physical address a. The bitmap is shared memory: the monitor reads and clears it
// at any time, so bits are set with an atomic OR, after what they tell of was written.
// A monitor that cuts the bitmap's file makes accesses fault, as with any of its memory;
// Owns tells that it was the log.
//
// Safe for concurrent use. Whoever made it keeps the bitmap mapped until no one uses it.
type DirtyLog struct {
	words []byte // whole mapped pages: the bitmap is words[skip:skip+size]
	skip  uint64
	size  uint64
	at    []placed // by address in this process
}

// placed is where a region lies in this process.
type placed struct {
	start uintptr
	size  uintptr
	gpa   GPA
}

// LogBytes is how many bytes a log of the table's memory needs.
func (t *Table) LogBytes() uint64 {
	if len(t.regions) == 0 {
		return 0
	}
	last := &t.regions[len(t.regions)-1]
	return (uint64(last.GPA)+uint64(len(last.Mem))-1)/DirtyPage/8 + 1
}

// NewDirtyLog returns a log of writes to the memory of a table. The bitmap is the size
// bytes at words[skip:]; words begins and ends at borders of pages.
func NewDirtyLog(table *Table, words []byte, skip, size uint64) (*DirtyLog, error) {
	if uint64(len(words))%DirtyPage != 0 || skip > uint64(len(words)) || size > uint64(len(words))-skip {
		return nil, fmt.Errorf("dirty log of %d bytes at %d of %d mapped", size, skip, len(words))
	}
	if need := table.LogBytes(); size < need {
		return nil, fmt.Errorf("%w: it has %d bytes, and %d are needed", ErrLogTooSmall, size, need)
	}
	l := &DirtyLog{words: words, skip: skip, size: size, at: places(table.regions)}
	sort.Slice(l.at, func(i, j int) bool { return l.at[i].start < l.at[j].start })
	return l, nil
}

// Covers reports whether n bytes at addr have their bits within the log.
func (l *DirtyLog) Covers(addr GPA, n uint64) bool {
	last := uint64(addr) + n - 1
	return n > 0 && last >= uint64(addr) && last/DirtyPage/8 < l.size
}

// Mark marks the n bytes at addr as written. What the log does not cover is left out.
func (l *DirtyLog) Mark(addr GPA, n uint64) {
	if n == 0 {
		return
	}
	first, last := uint64(addr)/DirtyPage, (uint64(addr)+n-1)/DirtyPage
	for page := first; page <= last && page/8 < l.size; page++ {
		at := l.skip + page/8
		orWord(l.words, at&^3, 1<<(at&3*8+page&7))
	}
}

// MarkView marks a view of the table's memory as written.
func (l *DirtyLog) MarkView(view []byte) {
	if len(view) == 0 {
		return
	}
	addr := addressOf(view)
	i := sort.Search(len(l.at), func(i int) bool { return l.at[i].start > addr }) - 1
	if i < 0 || addr-l.at[i].start >= l.at[i].size {
		return // of no region: not the guest's
	}
	l.Mark(l.at[i].gpa+GPA(addr-l.at[i].start), uint64(len(view)))
}

// Adopt marks what another log has marked of this log's memory.
func (l *DirtyLog) Adopt(other *DirtyLog) {
	for _, p := range l.at {
		first, last := uint64(p.gpa)/DirtyPage/8, (uint64(p.gpa)+uint64(p.size)-1)/DirtyPage/8
		for i := first; i <= last && i < l.size && i < other.size; i++ {
			if marked := other.words[other.skip+i]; marked != 0 {
				at := l.skip + i
				orWord(l.words, at&^3, uint32(marked)<<(at&3*8))
			}
		}
	}
}

// Owns reports whether addr, an address of this process, lies in the log.
func (l *DirtyLog) Owns(addr uintptr) bool {
	return addr-addressOf(l.words) < uintptr(len(l.words))
}
