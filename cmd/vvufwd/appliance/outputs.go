package appliance

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"vvufwd/cmd/internal/logging"
)

// outputs are PID 1's standard output and error, most likely both the console, and what
// the child's say goes through. A serial line that no one at the other end reads blocks
// whoever writes to it, for ever. So no one does but a goroutine that nothing waits for,
// and the child has pipes that PID 1 always empties: even the report of a crash, which
// the Go run-time writes by itself, cannot block there, and the child's end is seen.
type outputs struct {
	files    [2]*os.File // output, error
	out, err *logging.Queue
	relays   sync.WaitGroup // those who pass on what the child says
}

func newOutputs(out, err *os.File) *outputs {
	o := &outputs{files: [2]*os.File{out, err}}
	o.out, o.err = newOutput(out), newOutput(err)
	return o
}

// newOutput is a queue that says in plain words what it had to drop.
func newOutput(file *os.File) *logging.Queue {
	q := logging.NewQueue(file, logging.CrashRoom)
	q.ReportLost(func(lost uint64, err error) bool {
		if err == nil {
			_, err = fmt.Fprintf(file, "vvufwd: %d lines were dropped here, because no one read them\n", lost)
		}
		return err == nil
	})
	return q
}

// compare finds out whether both outputs are the same file, as they are if it is the
// console. All that is said then keeps its order. It comes before anything is said.
func (o *outputs) compare() {
	a, err := o.files[0].Stat()
	if err != nil {
		return
	}
	if b, err := o.files[1].Stat(); err == nil && os.SameFile(a, b) {
		o.out = o.err
	}
}

// pipes makes the standard streams of a child, with pipes in place of the outputs. Begin
// is to be called when the child has started, or has not.
func (o *outputs) pipes() (files []uintptr, begin func(), err error) {
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if o.out == o.err {
		begin = func() {
			errW.Close()
			o.relay(errR, o.err)
		}
		return []uintptr{0, errW.Fd(), errW.Fd()}, begin, nil
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		errR.Close()
		errW.Close()
		return nil, nil, err
	}
	begin = func() {
		errW.Close()
		outW.Close()
		o.relay(errR, o.err)
		o.relay(outR, o.out)
	}
	return []uintptr{0, outW.Fd(), errW.Fd()}, begin, nil
}

// relay passes on what is read, line by line, until no one writes any more.
func (o *outputs) relay(from *os.File, to io.Writer) {
	o.relays.Go(func() {
		defer from.Close()
		lines := bufio.NewReaderSize(from, 16<<10)
		for {
			line, err := lines.ReadSlice('\n') // or as much of a line as there is room for
			if len(line) > 0 {
				_, _ = to.Write(line) // a queue never fails
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	})
}

// heard waits until what was said has been passed on to whoever reads it; a moment, if
// no one does. Orphans of the child may still hold its outputs.
func (o *outputs) heard() {
	relayed := make(chan struct{})
	go func() { o.relays.Wait(); close(relayed) }()
	select {
	case <-relayed:
	case <-time.After(logging.LastWords):
	}
	logging.Flush(logging.LastWords, o.out, o.err)
}

// drain waits until the console has sent it all, or for a moment, if no one reads it.
func (o *outputs) drain() {
	if logging.Flush(logging.LastWords, o.out, o.err) {
		drain(o.files[1], logging.LastWords)
	}
}
