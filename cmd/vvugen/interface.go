package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/pktgen"
)

// withoutInterface are flags that are about a back-end, or about both ends.
var withoutInterface = []string{
	"both", "burst", "checksum", "cpu", "event-idx", "in-order", "indirect", "latency", "mergeable", "packed", "payload", "queue-size", "timeout", "verify", "window",
}

// checkInterface finds what does not go with --interface.
func (o *options) checkInterface(f *flag.FlagSet) error {
	for _, name := range withoutInterface {
		if cli.Given(f, name) {
			return cli.Usagef("--%s is for the sockets of a back-end: leave it or --interface out", name)
		}
	}
	switch {
	case len(o.ports) > 0:
		return cli.Usagef("--interface takes the place of --port: leave one of them out")
	case o.txOnly == o.rxOnly:
		return cli.Usagef("--interface %s: say --tx-only or --rx-only", o.link)
	case o.rxOnly && (o.rate != 0 || o.count != 0):
		return cli.Usagef("--rx-only sends nothing: leave out --rate and --count")
	case o.size < pktgen.MinFrame || o.size > pktgen.MaxFrame:
		return cli.Usagef("--size %d: must be %d to %d at an interface", o.size, pktgen.MinFrame, pktgen.MaxFrame)
	case !(o.rate >= 0 && o.rate <= 1e9):
		return cli.Usagef("--rate %g: must be 0 (no limit) to 1e9", o.rate)
	case o.duration < 0:
		return cli.Usagef("--duration %v: must not be negative", o.duration)
	case o.stream < 0 || o.stream > pktgen.MaxStream:
		return cli.Usagef("--stream %d: must be 0 to %d", o.stream, pktgen.MaxStream)
	}
	return nil
}

// runInterface sends or receives at a network interface until the command line says so, or it is stopped.
func runInterface(ctx context.Context, o options, out, progress io.Writer) (err error) {
	if o.txOnly {
		return sendInterface(ctx, o, out)
	}
	sink, err := pktgen.Listen(o.link, o.stream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	if !o.quiet {
		fmt.Fprintln(progress, "listening")
	}
	ctx, cancel := o.limit(ctx)
	defer cancel()
	a, err := sink.Run(ctx)
	if err != nil {
		return fmt.Errorf("interface %s: %w", o.link, err)
	}
	if o.json {
		return json.NewEncoder(out).Encode(a)
	}
	_, err = fmt.Fprintf(out, "%d frames of %d, %.0f a second, %.1f Mbit/s, %d reordered, %d duplicated, %d dropped by the socket; delay above the least: p50 %.0f us, p99 %.0f us\n",
		a.Frames, a.Highest, a.Rate(), bitRate(a.Bytes, a.Seconds), a.Reordered, a.Duplicated, a.KernelDropped, a.Delay.P50, a.Delay.P99)
	return err
}

func sendInterface(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := pktgen.NewSender(o.link, pktgen.Plan{Stream: o.stream, Sizes: pktgen.OfSize(o.size), Rate: o.rate, Count: o.count})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx, cancel := o.limit(ctx)
	defer cancel()
	sent, err := s.Run(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(out).Encode(sent)
	}
	_, err = fmt.Fprintf(out, "%d frames, %.0f a second, %.1f Mbit/s; the interface's queue was full %d times\n", sent.Frames,
		float64(sent.Frames)/max(sent.Seconds, 1e-9), bitRate(sent.Bytes, sent.Seconds), sent.Refused)
	return err
}

// limit ends ctx when --duration is over.
func (o options) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.duration > 0 {
		return context.WithTimeout(ctx, o.duration)
	}
	return context.WithCancel(ctx)
}

// bitRate is in Mbit/s.
func bitRate(bytes uint64, seconds float64) float64 {
	return float64(bytes) * 8 / 1e6 / max(seconds, 1e-9)
}
