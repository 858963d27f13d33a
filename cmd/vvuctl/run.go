package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/control"
	"vvufwd/netfwd"
)

// run asks and prints the answer.
func run(ctx context.Context, args []string, out, _ io.Writer) error {
	o, err := parseOptions(args, out)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Fprintln(out, cli.Version("vvuctl"))
		return nil
	}
	out = cleaner{out}
	c, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	if o.watch > 0 {
		return watch(ctx, c, o, out)
	}
	var data json.RawMessage
	if err := ask(ctx, c, o, &data); err != nil {
		return err
	}
	if o.json {
		_, err := fmt.Fprintf(out, "%s\n", data)
		return err
	}
	return show(o.request, data, out)
}

// connect connects, and says what may be wrong.
func connect(ctx context.Context, o options) (*control.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := control.Dial(ctx, o.control)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: start vvufwd with --control %v, or name the socket that it has with --control%s", err, o.control, o.services())
	case errors.Is(err, unix.ECONNREFUSED) && !isSocket(o.control):
		return nil, fmt.Errorf("%w: that is no socket: name the one that vvufwd has with --control", err)
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w: no one listens there any more", err)
	case errors.Is(err, unix.ECONNRESET) && o.control.Kind == channel.VSock:
		return nil, fmt.Errorf("%w: no one listens there", err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%v: no one has answered within %v: vvufwd was stopped, or has too much to do", o.control, o.timeout)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: only the user who runs vvufwd may ask it", err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("%w: this machine has no vsock: modprobe vhost_vsock", err)
	}
	return c, err
}

// services names the sockets of services, if none was asked for and there are some that we may see.
func (o options) services() string {
	if o.control.Path != defaultControl {
		return ""
	}
	found, _ := filepath.Glob(instances) // a pattern that makes sense
	if len(found) == 0 {
		return ""
	}
	return ": " + strings.Join(found, " or ")
}

// isSocket reports whether what is at an address may be a socket.
func isSocket(a channel.Address) bool {
	there, err := os.Stat(a.Path)
	return a.Kind != channel.UNIX || err != nil || there.Mode()&os.ModeSocket != 0
}

func ask(ctx context.Context, c *control.Client, o options, data any) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return c.Ask(ctx, o.request, data)
}

// watch prints rates until it is stopped.
func watch(ctx context.Context, c *control.Client, o options, out io.Writer) error {
	tick := time.NewTicker(o.watch)
	defer tick.Stop()
	var rates netfwd.Rates
	for {
		var data json.RawMessage
		if err := ask(ctx, c, o, &data); err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := readStats(data, func(now netfwd.Stats) error { return rates.Write(out, now) }); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// cleaner keeps what vvufwd has sent from commanding the terminal: a driver VM that was taken over may answer anything.
type cleaner struct{ io.Writer }

func (c cleaner) Write(p []byte) (int, error) {
	if _, err := io.WriteString(c.Writer, cli.Printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
