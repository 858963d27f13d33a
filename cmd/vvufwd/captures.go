package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/capture"
)

// captured is a capture of the command line: what it says, and its file.
type captured struct {
	capture.Spec
	port int // of those on the command line
	text string
	file *os.File
}

// Signals that start and stop all captures.
const (
	captureOn  = unix.SIGUSR1
	captureOff = unix.SIGUSR2
)

// checkCaptures reads what --capture said, when all ports are known.
func (o *options) checkCaptures() error {
	var names, written []string
	for _, p := range o.ports {
		names = append(names, p.String())
		written = append(written, p.written())
	}
	for i := range o.captures {
		c := &o.captures[i]
		var err error
		if c.Spec, err = capture.Parse(c.text, names, written); err != nil {
			return cli.Usagef("--capture %s: %w", c.text, err)
		}
		for port, name := range names {
			if name == c.Port {
				c.port = port
			}
		}
		for _, other := range o.captures[:i] {
			if other.port == c.port || other.Path == c.Path {
				return cli.Usagef("--capture %s: a port has one capture, and each a file of its own", c.text)
			}
		}
	}
	return nil
}

// written is the port's address as it is on the command line.
func (p portSpec) written() string {
	_, text, _ := strings.Cut(p.flag, " ")
	text, _, _ = strings.Cut(text, ",")
	return text + p.number()
}

// openCaptures opens their files, with all the privileges that vvufwd is started with. From then on the signals do nothing, until they
// are listened to.
func (o *options) openCaptures() error {
	if len(o.captures) > 0 {
		signal.Ignore(captureOn, captureOff)
	}
	for i := range o.captures {
		c := &o.captures[i]
		var err error
		if c.file, err = c.Open(); err != nil {
			o.closeCaptures()
			return cli.Unusablef("--capture %s: %w", c.text, err)
		}
	}
	return nil
}

// closeCaptures closes what no one has taken.
func (o *options) closeCaptures() {
	for i := range o.captures {
		if f := o.captures[i].file; f != nil {
			o.captures[i].Close(f)
			o.captures[i].file = nil
		}
	}
}

func handedCapture(i int) string { return fmt.Sprintf("capture#%d", i) }

// handCaptures adds them to the files that this process hands over to the one that it becomes.
func (o *options) handCaptures(files map[string]*os.File) {
	for i, c := range o.captures {
		files[handedCapture(i)] = c.file
	}
}

// inheritCaptures takes them over.
func (o *options) inheritCaptures() error {
	for i := range o.captures {
		if o.captures[i].file = confine.Inherited(handedCapture(i)); o.captures[i].file == nil {
			return errors.New(o.captures[i].Path + " was not handed over")
		}
	}
	return nil
}

// openRecorders gives ports that are open their captures.
func (f *forwarder) openRecorders(o *options) {
	for i := range o.captures {
		c := &o.captures[i]
		p := f.ports[c.port]
		r := capture.New(c.Spec, c.file, len(p.Queues), f.log)
		c.file = nil
		p.Capture = r.Frames()
		f.recorders = append(f.recorders, r)
	}
}

// record has all captures written until ctx is done, and started and stopped by signals.
func (f *forwarder) record(ctx context.Context, o *options, control *sync.WaitGroup) {
	if len(f.recorders) == 0 {
		return
	}
	for _, r := range f.recorders {
		control.Go(func() { r.Run(ctx, cli.Version("vvufwd")) })
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, captureOn, captureOff)
	control.Go(func() {
		defer signal.Ignore(captureOn, captureOff)
		for {
			select {
			case s := <-signals:
				for _, r := range f.recorders {
					if s == captureOn {
						r.Start()
					} else {
						r.Stop()
					}
				}
			case <-ctx.Done():
				return
			}
		}
	})
	if !o.owned { // no one sends a signal to /init
		f.log.Info("SIGUSR1 starts and SIGUSR2 stops captures", zap.Int("captures", len(f.recorders)))
	}
}
