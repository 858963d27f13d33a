package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/vvugen/port"
	"vvufwd/cmd/vvugen/report"
	"vvufwd/cmd/vvugen/traffic"
)

// errWrong is the error of a run whose frames did not all arrive as sent.
var errWrong = errors.New("not all frames arrived as they were sent; see the table")

// run is the program.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parseOptions(args, out)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(out, cli.Version("vvugen"))
		return err
	}
	if o.cpu >= 0 {
		if err := cli.CheckCPUs("--cpu", []int{o.cpu}); err != nil {
			return err
		}
	}
	if o.link != "" {
		return runInterface(ctx, o, out, progress)
	}
	ports, err := openPorts(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePorts(ports)) }()
	plan := o.plan(o.queueSize / ports[0].BuffersPerFrame())
	runner, err := traffic.NewRunner(plan, ways(o, ports))
	if err != nil {
		return err
	}
	unfollow := func() {}
	if !o.quiet {
		runner.OnSend = func() { fmt.Fprintln(progress, "sending") }
		unfollow = report.Follow(progress, runner.Progress())
	}
	result, err := runner.Run(ctx, o.cpu)
	unfollow()
	if err != nil {
		return err
	}
	if err := show(out, o, plan, ports[0], result); err != nil {
		return err
	}
	return judge(o, result)
}

// openPorts opens all ports at the same time: a back-end may wait for one
// before it serves the other.
func openPorts(ctx context.Context, o options) ([]*port.Port, error) {
	ports, errs := make([]*port.Port, len(o.ports)), make([]error, len(o.ports))
	done := make(chan struct{})
	for i, arg := range o.ports {
		go func() {
			ports[i], errs[i] = port.Open(ctx, port.Config{
				Socket: arg.path, Server: arg.server, Features: o.features(),
				QueueSize: o.queueSize, FrameSize: o.size, Timeout: o.timeout,
			})
			done <- struct{}{}
		}()
	}
	for range o.ports {
		<-done
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, closePorts(ports))
	}
	return ports, nil
}

func closePorts(ports []*port.Port) error {
	var errs []error
	for _, p := range ports {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// ways are the directions in which frames go. Pairs follow each other, so that
// one round serves all of them.
func ways(o options, ports []*port.Port) (ways []traffic.Way) {
	switch {
	case o.txOnly:
		return []traffic.Way{{From: ports[0]}}
	case o.rxOnly:
		return []traffic.Way{{To: ports[0]}}
	}
	for i := 0; i < len(ports); i += 2 {
		ways = append(ways, traffic.Way{From: ports[i], To: ports[i+1], Pair: i / 2})
		if o.both {
			ways = append(ways, traffic.Way{From: ports[i+1], To: ports[i], Pair: i / 2})
		}
	}
	return ways
}

func show(out io.Writer, o options, plan traffic.Plan, p *port.Port, result traffic.Result) error {
	run := report.Run{
		Plan: plan, Result: result, QueueSize: o.queueSize, Features: p.Features(), HugePages: p.HugePages(),
	}
	if o.json {
		return report.JSON(out, run)
	}
	return report.Table(out, run)
}

// judge turns a result into the error that the exit status follows from.
func judge(o options, result traffic.Result) error {
	for i := range result.Directions {
		d := &result.Directions[i]
		if d.Received == 0 {
			return fmt.Errorf("%s: no frame arrived; does the back-end forward between these sockets?", d.Name)
		}
		if o.verify && d.Faults.Any() {
			return errWrong
		}
	}
	return nil
}
