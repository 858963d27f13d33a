package show

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// Print writes both RAM disks, and to out the command lines that Run would run with them, for a person to copy: each for a terminal
// of its own, in this order. They are those that Run uses, except that the app VM's RAM is a file with a name.
func Print(ctx context.Context, cfg Config, out io.Writer) (err error) {
	d := newDemo(cfg, func(error) {}, time.Now())
	if err := d.prepareForOthers(); err != nil {
		return err
	}
	figure, err := d.images(ctx)
	if err != nil {
		return err
	}
	d.progress.say("images", "%s", figure)
	return d.printCommands(out)
}

// prepareForOthers names what the command lines need, and makes but the sockets' directory.
func (d *demo) prepareForOthers() (err error) {
	if err := os.MkdirAll(d.OutDir, 0o755); err != nil { // and no claim to it: what is printed runs later
		return fmt.Errorf("output directory: %w", err)
	}
	if err := d.prepareApps(); err != nil {
		return err
	}
	for _, a := range d.apps {
		if a.ram == nil {
			continue
		}
		if err := a.ram.Close(); err != nil {
			return err
		}
		a.ram = &ram{size: appMemoryMiB << 20, name: filepath.Join("/dev/shm", filepath.Base(d.run)+a.suffixed(".ram"))}
	}
	if d.TAP != "" { // made by the first of the commands
		d.network = &network{backend: machine.Backend{TAP: d.TAP, Queues: d.nicQueues()}, host: tapLease.Server.String()}
		return nil
	}
	d.network, err = openNetwork("", d.nicQueues(), d.MTU, len(d.apps))
	return err
}

// printCommands writes all command lines, in order.
func (d *demo) printCommands(w io.Writer) error {
	p := &printer{w: w}
	if _, err := addressOf(d.TAP); d.TAP != "" && errors.Is(err, errNoDevice) {
		p.say("the TAP device, once, by root; no DHCP server is behind it")
		for _, words := range tapCommands(d.TAP, d.nicQueues(), d.MTU) {
			p.run(append([]string{"ip"}, words...))
		}
	}
	if !d.Direct {
		if d.Device == machine.VfioUserServer {
			for _, a := range d.apps {
				p.say("%s, in a terminal of its own; it must run before both machines, and outlives them", a.suffixed("vvudev"))
				p.run(d.deviceArgv(a))
			}
		}
		p.say("the driver VM; Enter stops it")
		p.run(d.driverMachine().Argv())
	}
	for _, a := range d.apps {
		p.say("%s; it obeys lines such as: lease, ping 3 %s, off", a.name(), d.network.host)
		p.run(d.appMachine(a).Argv())
	}
	p.say("in the end")
	line := "rm -r " + shell.Quote(d.run)
	for _, a := range d.apps {
		if a.ram.named() && !d.Direct {
			line += " " + shell.Quote(a.ram.path())
		}
	}
	p.write(line + "\n")
	return p.err
}

// printer writes commands for a shell until one cannot be written.
type printer struct {
	w   io.Writer
	err error
}

// say writes a comment.
func (p *printer) say(format string, args ...any) {
	p.write("# " + fmt.Sprintf(format, args...) + "\n")
}

// run writes a command line.
func (p *printer) run(argv []string) { p.write(shell.Command(nil, argv) + "\n") }

func (p *printer) write(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}
