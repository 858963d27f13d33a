// Vvufwd forwards packets between virtio-vhost-user devices and NICs, vhost-user sockets, and
// network interfaces of the kernel.
//
// It is a userspace driver for the devices and the NICs, through VFIO, and runs in the virtual
// machine that owns them, as an ordinary command or as its /init. Another virtual
// machine's virtio-net device then has its back-end here, and the host never
// touches the NIC.
//
//	vvufwd --vvu 0000:00:05.0 --nic 0000:00:04.0
//
// Ports are paired in the order given; repeat the flags for more pairs. A port has as
// many queue pairs as its guest and front-end use, up to --queues, and a NIC as many as
// it has. A loop is a thread that polls, and sleeps when nothing comes for a while;
// loops share the queue pairs among them (package netfwd). With --switch all ports are
// joined in one learning switch instead, with one loop. See --help for all flags, and "vvufwd help" for everything else.
//
// vvufwd gives up what it does not need any more: all capabilities and most files
// before it opens devices, most system calls once all ports are open (package confine).
// For the former it executes itself again, in the same process, which takes /proc.
// --no-confine switches all that off. A system call that is refused shows in the kernel's log.
// Devices that a machine takes away and gives back
// are opened by another process (package keeper), which also gives back what --bind has bound; as /init one more sets interfaces up that
// come back (packages upkeep and reopen).
//
// Logs go to standard error, statistics to standard output. Nothing waits for whoever
// reads them: what is not taken in time is dropped and counted (package logging).
// Exit codes: 0 done, 1 run-time failure, 2 usage, 3 a device is not usable, 4 a
// device is gone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/internal/logging"
	"vvufwd/cmd/internal/service"
	"vvufwd/cmd/vvufwd/appliance"
	"vvufwd/cmd/vvufwd/help"
	"vvufwd/cmd/vvufwd/keeper"
	"vvufwd/cmd/vvufwd/reopen"
	"vvufwd/cmd/vvufwd/upkeep"
	"vvufwd/vfio"
	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

func main() {
	if appliance.IsInit() {
		appliance.Supervise() // does not return; runs us again as its child
	}
	if keeper.IsKeeper() {
		os.Exit(serve(keeper.Run))
	}
	if upkeep.IsUpkeep() {
		os.Exit(serve(upkeep.Run))
	}
	if reopen.IsReopener() {
		os.Exit(serve(reopen.Run))
	}
	stdout, stderr := logging.Streams()
	code := run(os.Args, stdout, stderr)
	logging.Flush(logging.LastWords, stdout, stderr)
	os.Exit(code)
}

// run is main with its outputs and exit code made explicit. Of the outputs, nothing may
// wait for whoever reads them.
func run(argv []string, stdout, stderr io.Writer) int {
	args, ignored := argv[1:], []string(nil)
	owned := appliance.Supervised() // the machine is ours alone
	if owned && !confine.Started() {
		var err error
		if args, ignored, err = appliance.Args(argv); err != nil {
			return fail(stderr, cli.Usagef("%v", err))
		}
	}
	if !owned && len(args) > 0 {
		if do, ok := map[string]func([]string, io.Writer) error{"help": help.Run, checkWord: checkArguments}[args[0]]; ok {
			if err := do(args[1:], stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
				return fail(stderr, err)
			}
			return told(stdout, stderr)
		}
	}
	o, err := parseFlags(args, owned, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return told(stdout, stderr)
	case err != nil:
		return fail(stderr, err)
	case o.version:
		fmt.Fprintln(stdout, cli.Version("vvufwd"))
		return told(stdout, stderr)
	}
	if err := cli.CheckCPUs("--cpus", o.cpus); err != nil {
		return fail(stderr, err)
	}
	o.level.SetLevel(o.logLevel)
	log := logging.New(stderr, o.logFormat, o.level)
	if q, ok := stdout.(*logging.Queue); ok {
		q.ReportIn(log, "statistics")
	}
	if len(ignored) > 0 {
		log.Info("words of the kernel command line that vvufwd ignores", zap.Strings("ignored", ignored))
	}
	switch {
	case o.privileged:
		err = withAllPrivileges(o, log, stdout)
	case confine.Started():
		err = confinedWork(o, log, stdout)
	default:
		err = startConfined(o, args, log, func() { flush(stdout, stderr) })
	}
	if err != nil {
		return fail(stderr, err)
	}
	return cli.Done
}

// serve is main for the processes that do what takes privileges later, see packages keeper,
// upkeep and reopen. Their logs are for what goes wrong only.
func serve(run func(log *zap.Logger) error) int {
	stdout, stderr := logging.Streams()
	defer logging.Flush(logging.LastWords, stdout, stderr)
	if err := run(logging.New(stderr, "console", zap.WarnLevel)); err != nil {
		return fail(stderr, err)
	}
	return cli.Done
}

// withAllPrivileges does everything in the one process.
func withAllPrivileges(o *options, log *zap.Logger, out io.Writer) (err error) {
	ctx, stop := appliance.StopSignal(context.Background())
	defer stop()
	if err := prepare(o, log, func() bool { return ctx.Err() != nil }); err != nil {
		return err
	}
	defer o.listeners.close()
	defer o.opened.close()
	defer o.closeCaptures()
	defer o.asked.close()
	o.startUpkeep(log)
	defer o.upkeep.Close()
	o.openDevMem(log)
	if err := service.Ready(); err != nil {
		return errors.Join(err, o.bare.GiveBack())
	}
	return forward(ctx, o, log, out)
}

// startConfined does what takes privileges, and has the rest done by this process made
// again without them. It returns only if it fails, or was asked to stop.
func startConfined(o *options, args []string, log *zap.Logger, flush func()) (err error) {
	stop := confine.CatchStop()
	if err := prepare(o, log, stop.Asked); err != nil {
		return err
	}
	files := map[string]*os.File{}
	defer func() {
		o.listeners.close()
		o.opened.close()
		o.closeCaptures()
		o.asked.close()
		for _, f := range files { // a function that is open anywhere cannot be given back
			f.Close()
		}
		err = errors.Join(err, giveBack(o))
	}()
	if err := o.listeners.hand(files); err != nil {
		return err
	}
	o.opened.hand(files)
	o.handCaptures(files)
	o.asked.hand(files)
	o.startUpkeep(log)
	defer o.upkeep.Close()
	o.upkeep.Hand(files)
	o.startReopener(log)
	defer o.reopener.Close()
	if err := o.reopener.Hand(files); err != nil {
		return err
	}
	o.openDevMem(log)
	defer o.closeDevMem()
	o.handDevMem(files)
	if len(o.functions()) > 0 {
		if o.bindings, err = o.bindFunctions(stop.Asked); errors.Is(err, confine.ErrStopped) {
			return nil
		} else if err != nil {
			return err
		}
		// What is missing is told of later, after what is wrong with the functions themselves.
		nodes := vfio.OpenNodes()
		defer nodes.Close()
		nodes.Hand(files)
		k, err := startKeeper(o, nodes.Shared(o.bare), log)
		if err != nil && stop.Asked() {
			return nil // what asked us asked the keeper too, before it ignored that
		}
		if err != nil {
			return err
		}
		defer func() { // still here: functions are given back by us
			k.TakeOver()
			k.Close()
		}()
		if err := k.Hand(files); err != nil {
			return err
		}
		if err := o.bare.Hand(files); err != nil {
			return err
		}
	}
	if err := service.Ready(); err != nil {
		return err
	}
	flush()
	err = o.policy().Start(append([]string{os.Args[0]}, args...), files, stop)
	if errors.Is(err, confine.ErrStopped) {
		return nil
	}
	return err
}

// giveBack undoes what startConfined has done to functions. It has a thread of its own, as that of
// the caller may have lost the privileges that it takes.
func giveBack(o *options) error {
	done := make(chan error)
	go func() {
		var err error
		for _, b := range slices.Backward(o.bindings) {
			err = errors.Join(err, pci.Sysfs{}.Undo(b))
		}
		done <- errors.Join(err, o.bare.GiveBack()) // which came first
	}()
	return <-done
}

// confinedWork is what a process does that startConfined has made.
func confinedWork(o *options, log *zap.Logger, out io.Writer) (err error) {
	ctx, stop := appliance.StopSignal(context.Background())
	defer stop()
	if o.listeners, err = inheritListeners(o); err != nil {
		return err
	}
	defer o.listeners.close()
	o.opened = inheritInterfaces(o)
	defer o.opened.close()
	if err := o.inheritCaptures(); err != nil {
		return err
	}
	defer o.closeCaptures()
	if err := o.asked.inherit(); err != nil {
		return err
	}
	defer o.asked.close()
	o.upkeep = upkeep.Inherit()
	defer o.upkeep.Close()
	if o.reopener, err = reopen.Inherit(o.xdpPorts()); err != nil {
		return err
	}
	defer o.reopener.Close()
	o.nodes = vfio.InheritNodes(confine.Inherited)
	o.inheritDevMem()
	if o.keeper, err = keeper.Inherit(o.functions()); err != nil {
		return err
	}
	if o.bare, err = vfio.InheritBare(confine.Inherited); err != nil {
		return errors.Join(err, o.keeper.Close())
	}
	o.keeper.TakeOver()
	return forward(withConfinement(ctx, o, log), o, log, out)
}

// prepare makes the machine ready, if it is ours, and opens what takes privileges to open. What it
// waits for it does not wait for once stopped says so.
func prepare(o *options, log *zap.Logger, stopped func() bool) (err error) {
	if o.owned {
		if err := setup(o, log, stopped); err != nil {
			return err
		}
	}
	if err := o.checkNICs(); err != nil {
		return err
	}
	if err := o.openBare(log); err != nil {
		return err
	}
	if o.opened, err = openInterfaces(o, log, stopped); err != nil {
		return errors.Join(err, o.bare.GiveBack())
	}
	o.asked.makeDirectory() // in which other sockets may be, too
	if o.listeners, err = listen(o); err != nil {
		o.opened.close()
		return errors.Join(err, o.bare.GiveBack())
	}
	if err = o.openCaptures(); err == nil {
		if err = o.asked.open(); err != nil {
			o.closeCaptures()
		}
	}
	if err != nil {
		o.listeners.close()
		o.opened.close()
		return errors.Join(err, o.bare.GiveBack())
	}
	return nil
}

// flush has what was said so far written out, within reason.
func flush(outputs ...io.Writer) {
	var queues []*logging.Queue
	for _, w := range outputs {
		if q, ok := w.(*logging.Queue); ok {
			queues = append(queues, q)
		}
	}
	logging.Flush(logging.LastWords, queues...)
}

// told is the exit code if a text was all that was asked for.
func told(stdout, stderr io.Writer) int {
	if q, ok := stdout.(*logging.Queue); ok {
		if err := q.Told(logging.LastWords); err != nil {
			return fail(stderr, err)
		}
	}
	return cli.Done
}

// fail prints an error and returns the exit code for its kind.
func fail(stderr io.Writer, err error) int {
	cli.PrintError(stderr, "vvufwd", err)
	var device *pci.DeviceError
	var gone *goneError
	switch {
	case errors.As(err, &gone):
		return cli.Gone
	case errors.As(err, &device), errors.Is(err, dma.ErrHugePages), errors.Is(err, dma.ErrNoLocation), errors.Is(err, appliance.ErrVFIO):
		return cli.Unusable
	}
	return cli.ExitCode(err)
}
