package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/internal/control"
	"vvufwd/cmd/vvufwd/metrics"
)

// asked are the places where vvufwd can be asked about itself: control by --control, scraped by --metrics.
type asked struct {
	control place
	write   bool // what is asked for there may change something
	scraped place
}

// places is how many there are.
const places = 2

// place is where to listen, and with what.
type place struct {
	channel.Address
	text string   // as the command line has it; empty: nowhere
	file *os.File // of the socket or the virtio-serial port, until someone has taken it
}

// Names of their files when they are handed over.
const (
	handedControl = "control"
	handedMetrics = "metrics"
)

// setControl reads --control.
func (a *asked) setControl(text string) (err error) {
	path, write := strings.CutSuffix(text, ",write")
	if path, _ = strings.CutSuffix(path, ",read"); strings.Contains(path, ",") {
		return errors.New("want PATH, vsock:PORT or virtio-serial:NAME, and perhaps \",write\"")
	}
	a.control.text, a.write = text, write
	a.control.Address, err = channel.Parse(path)
	return err
}

// setMetrics reads --metrics.
func (a *asked) setMetrics(text string) (err error) {
	a.scraped.text = text
	a.scraped.Address, err = channel.ParseTCP(text)
	return err
}

// checkAsked finds what is used twice.
func (o *options) checkAsked() error {
	taken := map[string]string{}
	for _, p := range o.ports {
		if p.atSocket() {
			taken[p.path] = p.flag
		}
	}
	take := func(flag, at string) error {
		if other, ok := taken[at]; ok {
			return cli.Usagef("%s: that is the place of %s already", flag, other)
		}
		taken[at] = flag
		return nil
	}
	if o.asked.control.Kind != 0 {
		if err := take("--control "+o.asked.control.text, o.asked.control.String()); err != nil {
			return err
		}
	}
	for _, c := range o.captures {
		at, err := c.Path, error(nil)
		if c.Live.Kind == 0 { // a file
			at, err = filepath.Abs(at)
		}
		if err = errors.Join(err, take("--capture "+c.text, at)); err != nil {
			return err
		}
	}
	return nil
}

// makeDirectory makes the directory of the socket of --control if that alone is missing: no one else makes /run/vvufwd after a boot,
// where vvuctl asks. It is for its owner alone, as the socket is. Whether it can be made shows when the socket is.
func (a *asked) makeDirectory() {
	if a.control.Kind == channel.UNIX {
		_ = os.Mkdir(filepath.Dir(a.control.Path), 0o700)
	}
}

// open opens the places, with all the privileges that vvufwd is started with.
func (a *asked) open() (err error) {
	if err = a.control.open(); err != nil {
		return cli.Unusablef("--control %s: %w", a.control.text, err)
	}
	if err = a.scraped.open(); err != nil {
		a.close()
		return cli.Unusablef("--metrics %s: %w", a.scraped.text, err)
	}
	return nil
}

func (p *place) open() error {
	switch p.Kind {
	case 0:
		return nil
	case channel.Serial:
		f, err := p.OpenSerial()
		p.file = f
		return err
	}
	l, err := p.Listen()
	if err == nil {
		p.file = l.File()
	}
	return err
}

// close closes what no one has taken.
func (a *asked) close() {
	for _, p := range []*place{&a.control, &a.scraped} {
		if p.file != nil {
			channel.Inherit(p.file, p.Address).Close()
			p.file = nil
		}
	}
}

// hand adds the files to those that this process hands over to the one that it becomes.
func (a *asked) hand(files map[string]*os.File) {
	for name, p := range map[string]*place{handedControl: &a.control, handedMetrics: &a.scraped} {
		if p.file != nil {
			files[name] = p.file
		}
	}
}

// inherit takes them over.
func (a *asked) inherit() error {
	for name, p := range map[string]*place{handedControl: &a.control, handedMetrics: &a.scraped} {
		if p.Kind == 0 {
			continue
		}
		if p.file = confine.Inherited(name); p.file == nil {
			return fmt.Errorf("%s was not handed over", p.text)
		}
	}
	return nil
}

// need adds what a place takes of a confined process. A virtio-serial port is read and written, and that is all.
func (p *place) need(policy *confine.Policy) {
	switch p.Kind {
	case channel.UNIX:
		policy.Listen = append(policy.Listen, p.Path)
	case channel.VSock, channel.TCP:
		policy.Accept = true
	}
}

// answerClients answers whoever asks until ctx is done.
func (f *forwarder) answerClients(ctx context.Context, o *options, controls *sync.WaitGroup, failed func(error)) {
	state := &collector{f: f, o: o}
	if p := o.asked.control.take(); p.file != nil {
		s := &control.Server{Write: o.asked.write, Refusal: "vvufwd was not started with --control " + p.String() + ",write", Do: state.answer}
		controls.Go(func() {
			failed(p.serve(ctx, func(ctx context.Context, l *channel.Listener) {
				if l != nil {
					s.Serve(ctx, l)
				} else if err := s.ServeSerial(ctx, p.file); err != nil { // a device that is unplugged is no reason to end
					f.log.Error("nothing can be asked any more", zap.String("control", p.text), zap.Error(err))
				}
			}))
		})
		f.log.Info("answering vvuctl", zap.Stringer("at", p.Address), zap.Bool("write", o.asked.write))
	}
	if p := o.asked.scraped.take(); p.file != nil {
		at := channel.Inherit(p.file, p.Address).Address()
		controls.Go(func() {
			failed(p.serve(ctx, func(ctx context.Context, l *channel.Listener) { metrics.Serve(ctx, l, state.metrics) }))
		})
		f.log.Info("answering Prometheus", zap.String("at", "http://"+at.String()+"/metrics"))
	}
}

// take takes the file from who would close it otherwise.
func (p *place) take() place {
	taken := *p
	p.file = nil
	return taken
}

// serve serves clients once the process has given up its privileges, and closes the place at the end. There is no listener at a
// virtio-serial port.
func (p place) serve(ctx context.Context, serve func(context.Context, *channel.Listener)) error {
	var l *channel.Listener
	if p.Kind == channel.Serial {
		defer p.file.Close()
	} else {
		l = channel.Inherit(p.file, p.Address)
		defer l.Close()
	}
	return confined(func(ctx context.Context) error {
		serve(ctx, l)
		return nil
	})(ctx)
}

// started is when the program was, roughly.
var started = time.Now()
