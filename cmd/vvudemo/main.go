// Vvudemo boots two virtual machines and shows packets passing between them, in both directions.
//
//	vvudemo
//
// The driver VM owns a NIC and a virtio-vhost-user device; its /init is vvufwd. The app VM is an ordinary guest, whose virtio-net
// device has its back-end in the driver VM. Vvudemo finds or fetches QEMU, a kernel and busybox, writes both RAM disks, boots
// both machines and shows, each with a figure: a DHCP lease, pings, a download by the app VM and one from it, what every port
// counted, and a capture of the NIC side. At the end both machines power themselves off.
//
// The virtio-vhost-user device is vvudev, plugged into a stock QEMU of version 10.1 or later (--device vvudev), or that of a QEMU
// which has one built in (--device qemu --qemu PATH).
//
// What is missing on a Debian machine is unpacked from Debian's packages below --build, without root and without touching the
// machine's package state. Elsewhere give --qemu, --kernel, --modules and --busybox.
//
// Timed lines go to standard error, the final table, or with --json the whole report, to standard output. Images, console logs
// and the capture are left in BUILD/demo. See --help for all flags.
//
// Exit codes: 0 everything was shown, 1 something was not, 2 usage, 3 a file or a program that was named is not usable.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/namespace"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvudemo/show"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings made explicit.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	text := &cli.Output{Writer: stdout}
	o, err := parseFlags(args, text)
	if err == nil && o.version {
		fmt.Fprintln(text, cli.Version("vvudemo"))
		err = flag.ErrHelp // all that was asked for
	}
	if err == nil {
		err = o.open()
	}
	if err = text.Or(err); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			cli.PrintError(stderr, "vvudemo", err)
		}
		return cli.ExitCode(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit(), fmt.Errorf("not done within %v (see --timeout)", o.limit()))
	defer cancel()
	report, err := demonstrate(ctx, o, args, stdin, stdout, stderr)
	if report != nil {
		err = errors.Join(err, writeReport(stdout, report, o.json))
	}
	switch {
	case err == nil:
		return cli.Done
	case errors.Is(err, show.ErrFailed): // its timed line has said why
		cli.PrintError(stderr, "vvudemo", show.ErrFailed)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil: // which does not say whose
		cli.PrintError(stderr, "vvudemo", fmt.Errorf("%w: %w", context.Cause(ctx), err))
	default:
		cli.PrintError(stderr, "vvudemo", err)
		return cli.ExitCode(err)
	}
	return cli.Failed
}

// table is a report that a person can read, too.
type table interface{ WriteTable(w io.Writer) error }

// demonstrate gathers what is needed and runs the demo. The report is nil if it could not begin, or if another process has written it.
func demonstrate(ctx context.Context, o *options, args []string, stdin io.Reader, stdout, stderr io.Writer) (table, error) {
	source := tools.SourceDir()
	build := o.build
	if build == "" {
		build = tools.BuildDir()
	}
	begin := time.Now()
	found, err := tools.Find(ctx, tools.Options{
		QEMU: o.qemu, AppQEMU: o.appQEMU, Kernel: o.kernel, Modules: o.modules, Busybox: o.busybox, Bin: o.bin,
		BuildDir: build, SourceDir: source, NeedVfioUser: o.needsVfioUser(), NeedPrograms: !o.direct || o.bench.on, NeedMatrix: o.matrix != "", NeedNewest: o.needsNewest(), NeedHardware: o.needsHardware() && !o.newest,
		NeedNewestHardware: o.needsHardware() && o.newest,
		NeedNewer:          o.iommu == machine.Virtio, NeedBare: o.iommu == machine.None,
		Progress: func(text string) {
			fmt.Fprintf(stderr, "[%6.1f s] %-10s %s\n", time.Since(begin).Seconds(), "prepare", text)
		},
	})
	if err != nil {
		return nil, err
	}
	cfg := o.config(found, filepath.Join(build, "demo"))
	cfg.Progress = stderr
	if o.verbose {
		cfg.Console = stderr
	}
	switch err := show.CheckArguments(ctx, cfg); {
	case errors.Is(err, tools.ErrNotChecked):
		cli.PrintError(stderr, "vvudemo", err)
	case err != nil:
		return nil, err
	}
	if o.matrix != "" {
		return inNamespace(ctx, "--matrix", cfg, args, stdout, func() (table, error) {
			combinations, err := o.combinations()
			if err != nil {
				return nil, err
			}
			return show.RunMatrix(ctx, cfg, combinations)
		})
	}
	if o.print {
		return nil, show.Print(ctx, cfg, stdout)
	}
	if o.bench.on && o.tap == "" {
		return inNamespace(ctx, "--pktgen", cfg, args, stdout, func() (table, error) { return o.measure(ctx, cfg) })
	}
	if o.bench.on {
		return o.measure(ctx, cfg)
	}
	if o.keep {
		cfg.Keep = func(ctx context.Context) error { return waitEnter(ctx, stdin) }
	}
	return show.Run(ctx, cfg)
}

// inNamespace does in a network of its own what a flag asks for: this process only starts another one there, which writes the report.
func inNamespace(ctx context.Context, flag string, cfg show.Config, args []string, stdout io.Writer, do func() (table, error)) (table, error) {
	if namespace.Inside() {
		if err := namespace.Settle(); err != nil {
			return nil, err
		}
		return do()
	}
	cmd, err := namespace.Command(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	cmd.Stdout, cmd.Stderr = stdout, cfg.Progress
	if err := namespace.Run(cmd); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); ended {
			return nil, show.ErrFailed
		}
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return nil, nil
}

// waitEnter returns at the end of a line, or when ctx ends.
func waitEnter(ctx context.Context, stdin io.Reader) error {
	read := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(stdin).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("wait for Enter: %w", err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func writeReport(w io.Writer, r table, as jsonOption) (err error) {
	if as.out != nil {
		if err := r.WriteTable(w); err != nil {
			return err
		}
		if err := as.out.Truncate(0); err != nil { // of an earlier run
			return fmt.Errorf("--json: %w", err)
		}
		defer func() { err = errors.Join(err, as.out.Close()) }()
		w = as.out
	} else if !as.stdout {
		return r.WriteTable(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
