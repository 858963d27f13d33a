package session

import (
	"errors"
	"fmt"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// LogMemory is a front-end's dirty log, mapped.
type LogMemory struct {
	Words []byte // whole pages
	Skip  uint64 // where in Words the bitmap begins
	Size  uint64 // bytes of the bitmap
	Unmap func() error
}

// maxLogBytes bounds what a dirty log can make us map. It does for guest-physical addresses
// of 47 bits.
const maxLogBytes = 4 << 30

// dirtyLog is where writes to guest memory are marked. It goes with a memory table.
type dirtyLog struct {
	*mem.DirtyLog
	unmap func() error

	// uncollected says that the front-end does not look here any more, or never did, while
	// rings go on: what is marked is to be marked in its next log. QEMU, whose guest's
	// device starts while it migrates, sends the log after the rings are started, and lets
	// go of the one before when they stop.
	uncollected bool
}

// errUnlogged reports that writes which have to be marked cannot be. The session has to
// end: a monitor that does not learn of a write migrates a guest with stale memory.
var errUnlogged = errors.New("writes cannot be marked in the front-end's dirty log")

// relog makes rings mark their writes as the front-end wants it now: in its log, in none,
// or while it has not sent one in memory of our own. They run on. When relog returns
// nothing touches the log before any more. Whether a log that came will do is found out at
// once, though writes may not have to be marked yet.
func (s *Session) relog(came bool) error {
	if s.memory == nil {
		return nil // see openLog
	}
	next, err := s.newLog(came)
	if errors.Is(err, errUnlogged) {
		return err
	}
	_, sent := s.backend.Log()
	s.log.Info("dirty log", zap.Bool("marking", s.backend.Logging()), zap.Bool("of the front-end", sent && err == nil))
	old := s.dirty
	s.dirty = next
	for i := range s.pairs {
		s.pairs[i].changed = true
	}
	s.installChanged()
	return errors.Join(err, s.succeed(old))
}

// openLog makes the log for memory that was mapped again, before rings use it.
func (s *Session) openLog() (err error) {
	old := s.dirty
	s.dirty, err = s.newLog(false)
	return errors.Join(err, s.succeed(old))
}

// succeed releases a log that no one marks anything in any more.
func (s *Session) succeed(old *dirtyLog) error {
	if old == nil {
		return nil
	}
	defer old.unmap() // also if the front-end cuts one of them meanwhile
	if old.uncollected && s.dirty != nil {
		s.dirty.Adopt(old.DirtyLog)
	}
	return nil
}

// newLog makes a log for the memory that is mapped, if writes have to be marked or one came.
// If they have to and cannot be, no ring runs any more when it returns: the session ends soon,
// and until then no one must write.
func (s *Session) newLog(came bool) (*dirtyLog, error) {
	if !came && !s.backend.Logging() {
		return nil, nil
	}
	log, err := s.mapLog()
	if err != nil && s.backend.Logging() {
		s.pauseAll()
		err = fmt.Errorf("%w: %w", errUnlogged, err)
	}
	return log, err
}

// mapLog makes the front-end's log usable, or one of our own if it has none: what it may
// have let go of need not do for memory that came later.
func (s *Session) mapLog() (*dirtyLog, error) {
	need := max(s.memory.Table.LogBytes(), 1) // all regions may have been removed
	if need > maxLogBytes {
		return nil, fmt.Errorf("guest-physical addresses that take a log of %d bytes; at most %d are supported", need, int64(maxLogBytes))
	}
	l, sent := s.backend.Log()
	if !sent || s.logLeft && l.Size < need {
		return privateLog(s.memory.Table, need)
	}
	if l.Size < need {
		return nil, fmt.Errorf("%w: it has %d bytes, and %d are needed", mem.ErrLogTooSmall, l.Size, need)
	}
	m, err := s.carrier.MapLog(l, need)
	if err != nil {
		return nil, fmt.Errorf("dirty log: %w", err)
	}
	log, err := mem.NewDirtyLog(s.memory.Table, m.Words, m.Skip, m.Size)
	if err != nil {
		return nil, errors.Join(err, m.Unmap())
	}
	return &dirtyLog{DirtyLog: log, unmap: m.Unmap, uncollected: s.logLeft}, nil
}

// privateLog is a log in memory of our own, of which only pages with marks exist.
func privateLog(table *mem.Table, need uint64) (*dirtyLog, error) {
	size := (need + mem.DirtyPage - 1) / mem.DirtyPage * mem.DirtyPage
	words, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("memory for a log of %d bytes: %w", size, err)
	}
	unmap := func() error { return unix.Munmap(words) }
	log, err := mem.NewDirtyLog(table, words, 0, need)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	return &dirtyLog{DirtyLog: log, unmap: unmap, uncollected: true}, nil
}

// closeLog releases the log, with the memory that it goes with.
func (s *Session) closeLog() error {
	old := s.dirty
	s.dirty = nil
	if old == nil {
		return nil
	}
	return old.unmap()
}

// noteStop is called when a ring has stopped. With the last one a front-end may release
// its log (see dirtyLog), until it sends another.
func (s *Session) noteStop() {
	for _, q := range s.rings {
		if q != nil {
			return
		}
	}
	s.logLeft = true
	if s.dirty != nil {
		s.dirty.uncollected = true
	}
}

// logging is how ring i, which runs, marks what it writes; nil if no one wants to know. A
// front-end may have its used ring marked elsewhere than where it lies (VHOST_VRING_F_LOG),
// but not beyond the log. Without that flag it is marked all the same: between the message
// that asks for marks and the one with the flag it is written too.
func (s *Session) logging(i int) *vring.Logging {
	if s.rings[i] == nil || s.dirty == nil || !s.backend.Logging() {
		return nil
	}
	state, packed := s.backend.Ring(i), s.backend.Features().Has(virtio.RingPacked)
	size := s.rings[i].Size()
	descBytes, _, usedBytes := vring.Areas(size, packed)
	desc, _ := s.memory.Table.FromUser(state.Desc, uint64(descBytes))
	used, _ := s.memory.Table.FromUser(state.Used, uint64(usedBytes))
	if state.Flags&vhostuser.VringAddrLog != 0 {
		if l, ok := vring.NewLogging(s.dirty.DirtyLog, desc, mem.GPA(state.Log), size, packed); ok {
			return l
		}
	}
	l, _ := vring.NewLogging(s.dirty.DirtyLog, desc, used, size, packed)
	return l
}
