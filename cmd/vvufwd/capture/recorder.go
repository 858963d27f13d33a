package capture

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
)

// RingBytes is how much of a queue pair's frames waits for the file.
const RingBytes = 1 << 20

// Recorder writes what one port carries to a file. Start and Stop are safe for concurrent use.
type Recorder struct {
	spec   Spec
	file   *os.File
	log    *zap.Logger
	frames *netfwd.Capture

	wake  chan struct{}
	mu    sync.Mutex
	state bool
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

// Start begins to capture, or goes on.
func (r *Recorder) Start() { r.set(true) }

// Stop pauses.
func (r *Recorder) Stop() { r.set(false) }

func (r *Recorder) set(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == on {
		return
	}
	if r.state = on; on {
		r.frames.Start()
		r.log.Info("the capture is on")
	} else {
		r.frames.Stop()
		r.log.Info("the capture is off")
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Recorder) on() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// pace is how often the ring is emptied while the capture is on: a loop does not tell of frames. At 10 Gbit/s it takes about a
// millisecond to fill a ring, so that a fast port is missed in part, unless snaplen is small.
const pace = 2 * time.Millisecond

// slowPace is that after a while without frames: a machine that idles shall not be woken up all the time.
const slowPace = 50 * time.Millisecond

// farewell is how long a device or pipe that does not take what it is given is waited for at the end.
const farewell = time.Second

// Run writes until ctx is done, and then what there is. It does not fail: a file that cannot be written to ends the capture, and is
// told of.
func (r *Recorder) Run(ctx context.Context, program string) {
	if !r.spec.Off {
		r.Start()
	}
	stop := context.AfterFunc(ctx, func() { _ = r.file.SetWriteDeadline(time.Now().Add(farewell)) }) // no file of a disk has one, nor needs it
	defer stop()
	w := newWriter(r.file)
	w.header(program, r.spec.Port, "frames received from and sent to the port; large segments and checksums as guests leave them", r.spec.Filter.String(), r.spec.SnapLen)
	seen, missed := uint64(0), uint64(0)
	nap := pace
	for ended := false; !ended && w.err == nil; {
		ended = ctx.Err() != nil
		got := r.drain(w, &seen)
		if m := r.frames.Missed(); got > 0 && m != missed {
			missed = m
			w.statistics(time.Now(), seen+missed, missed)
		}
		if w.flush() != nil || ended {
			break
		}
		if nap *= 2; got > 0 || nap > slowPace {
			nap = slowPace
		}
		if got > 0 {
			nap = pace
		}
		r.rest(ctx, nap)
	}
	r.Stop()
	if w.err == nil {
		for r.drain(w, &seen) > 0 { // what is left: no more comes
		}
		missed = r.frames.Missed()
		w.statistics(time.Now(), seen+missed, missed)
		_ = w.flush()
	}
	if err := errors.Join(w.err, r.file.Close()); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		r.log.Error("the capture ends early", zap.Error(err))
		return
	}
	r.log.Info("captured", zap.Uint64("frames", seen), zap.Uint64("missed", missed))
}

// most is how many frames are written before anything else is looked at.
const most = 4096

// drain writes what is there, and returns how many frames it has seen.
func (r *Recorder) drain(w *writer, seen *uint64) (n int) {
	for ; n < most && w.err == nil; n++ {
		f, ok := r.frames.Next()
		if !ok {
			break
		}
		*seen++
		if r.spec.Filter.Match(f.Data) {
			w.packet(f.Time, f.Sent, f.Len, f.Data[:min(len(f.Data), r.spec.SnapLen)])
		}
	}
	return n
}

// rest waits for a while, or until something has changed.
func (r *Recorder) rest(ctx context.Context, nap time.Duration) {
	var timer <-chan time.Time
	if r.on() {
		timer = time.After(nap)
	}
	select {
	case <-timer:
	case <-r.wake:
	case <-ctx.Done():
	}
}
