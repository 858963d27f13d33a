package capture

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
)

// RingBytes is how much of a queue pair's frames waits for the file.
const RingBytes = 1 << 20

// Recorder writes what one port carries to a file, or to whoever reads it live. Start, Stop, On and Status are safe for concurrent use.
type Recorder struct {
	spec   Spec
	file   *os.File
	log    *zap.Logger
	frames *netfwd.Capture
	seen   atomic.Uint64

	wake chan struct{}

	mu     sync.Mutex
	wanted bool
	read   bool   // there is a reader
	ended  string // why nothing more is written
}

// Status is what there is to tell of a recorder.
type Status struct {
	Spec   Spec
	On     bool
	Reader bool // there is someone to write for; always, if it is a file
	Ended  string
	Frames uint64 // looked at
	Missed uint64
}

// New makes a recorder of a port with so many queue pairs. The file is the recorder's from then on.
func New(spec Spec, file *os.File, pairs int, log *zap.Logger) *Recorder {
	return &Recorder{
		spec: spec, file: file, log: log.With(zap.String("capture", spec.Port), zap.String("file", spec.Path)), wake: make(chan struct{}, 1),
		frames: netfwd.NewCapture(netfwd.CaptureConfig{Pairs: pairs, SnapLen: spec.copied(), RingBytes: RingBytes}),
	}
}

// Frames is what the port's end is given.
func (r *Recorder) Frames() *netfwd.Capture { return r.frames }

// Start begins to capture, or goes on, unless it has ended.
func (r *Recorder) Start() { r.set(true) }

// Stop pauses.
func (r *Recorder) Stop() { r.set(false) }

func (r *Recorder) set(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == on || r.ended != "" {
		return
	}
	r.wanted = on
	r.apply()
	if on {
		r.log.Info("the capture is on")
	} else {
		r.log.Info("the capture is off")
	}
	r.changed()
}

// apply has the loop copy frames, or not: nothing is copied for no one. r.mu is held.
func (r *Recorder) apply() {
	if r.wanted && r.read {
		r.frames.Start()
	} else {
		r.frames.Stop()
	}
}

// setReader notes whether there is one.
func (r *Recorder) setReader(there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read != there {
		r.read = there
		r.apply()
	}
}

// changed has Run look.
func (r *Recorder) changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Status tells of the recorder.
func (r *Recorder) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{Spec: r.spec, On: r.wanted, Reader: r.read, Ended: r.ended, Frames: r.seen.Load(), Missed: r.frames.Missed()}
}

// pace is how often the ring is emptied while the capture is on: a loop does not tell of frames. At 10 Gbit/s it takes about a
// millisecond to fill a ring, so that a fast port is missed in part, unless snaplen is small.
const pace = 2 * time.Millisecond

// slowPace is that after a while without frames: a machine that idles shall not be woken up all the time.
const slowPace = 50 * time.Millisecond

// lonely is that of a live capture that no one reads.
const lonely = 100 * time.Millisecond

// Run writes until ctx is done, and then what there is. It does not fail: a file that cannot be written to ends the capture, and is
// told of.
func (r *Recorder) Run(ctx context.Context, program string) {
	if !r.spec.Off {
		r.Start()
	}
	err := r.run(ctx, program)
	r.mu.Lock()
	r.wanted, r.read = false, false
	r.apply()
	if r.ended = "the program ends"; err != nil {
		r.ended = err.Error()
	}
	r.mu.Unlock()
	if err != nil {
		r.log.Error("the capture ends early", zap.Error(err))
		return
	}
	r.log.Info("captured", zap.Uint64("frames", r.seen.Load()), zap.Uint64("missed", r.frames.Missed()))
}

func (r *Recorder) run(ctx context.Context, program string) (err error) {
	out, err := newOutput(r.spec, r.file, r.changed)
	if err != nil {
		return errors.Join(err, r.spec.Close(r.file))
	}
	stop := context.AfterFunc(ctx, out.stop)
	defer stop()
	s := section{writer: newWriter(io.Discard)} // for no one yet
	nap := pace
	for ctx.Err() == nil {
		there, fresh := out.reader()
		if fresh {
			s = r.begin(out, program)
		}
		r.setReader(there)
		got := 0
		if there {
			got = r.drain(&s)
			if s.tellMissed(r, got > 0); s.flush() != nil {
				if !errors.Is(s.err, errReaderGone) {
					break
				}
				r.setReader(false)
				there = false
			}
		}
		if nap *= 2; nap > slowPace {
			nap = slowPace
		}
		if got > 0 {
			nap = pace
		}
		if !there {
			nap = lonely
		}
		r.rest(ctx, nap)
	}
	r.Stop()
	there, fresh := out.reader()
	if fresh {
		s = r.begin(out, program)
	}
	if there && s.err == nil {
		for r.drain(&s) > 0 { // what is left: no more comes
		}
		s.tellMissed(r, true)
		s.statistics(time.Now(), s.seen+s.missed, s.missed)
		_ = s.flush()
	}
	if errors.Is(s.err, errReaderGone) || errors.Is(s.err, os.ErrDeadlineExceeded) {
		s.err = nil
	}
	return errors.Join(s.err, out.Close())
}

// section is what one reader gets.
type section struct {
	*writer
	seen   uint64 // frames of it that were looked at
	missed uint64 // as was told last
	before uint64 // missed when it began
}

// begin begins a section.
func (r *Recorder) begin(out io.Writer, program string) section {
	for { // what was not read is for no one
		if _, ok := r.frames.Next(); !ok {
			break
		}
	}
	s := section{writer: newWriter(out), before: r.frames.Missed()}
	s.header(program, r.spec.Port, "frames received from and sent to the port; large segments and checksums as guests leave them", r.spec.Filter.String(), r.spec.SnapLen)
	return s
}

// tellMissed writes how many frames were missed, if that has changed.
func (s *section) tellMissed(r *Recorder, now bool) {
	if m := r.frames.Missed() - s.before; now && m != s.missed {
		s.missed = m
		s.statistics(time.Now(), s.seen+m, m)
	}
}

// most is how many frames are written before anything else is looked at.
const most = 4096

// drain writes what is there, and returns how many frames it has seen.
func (r *Recorder) drain(s *section) (n int) {
	for ; n < most && s.err == nil; n++ {
		f, ok := r.frames.Next()
		if !ok {
			break
		}
		s.seen++
		r.seen.Add(1)
		if r.spec.Filter.Match(f.Data) {
			s.packet(f.Time, f.Sent, f.Len, f.Data[:min(len(f.Data), r.spec.SnapLen)])
		}
	}
	return n
}

// rest waits for a while, or until something has changed.
func (r *Recorder) rest(ctx context.Context, nap time.Duration) {
	var timer <-chan time.Time
	if r.Status().On {
		timer = time.After(nap)
	}
	select {
	case <-timer:
	case <-r.wake:
	case <-ctx.Done():
	}
}
