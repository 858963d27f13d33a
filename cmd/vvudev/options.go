package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"go.uber.org/zap/zapcore"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/logging"
	"vvufwd/vvu/device"
)

type options struct {
	vfioUser  string
	vhostUser string
	ram       string
	createRAM cli.Size
	shadowing
	memory    cli.Size // 0: by the machine's
	queues    int
	uuid      uuid
	logLevel  zapcore.Level
	logFormat string
	noConfine bool
	version   bool
}

var helpText = cli.Help{
	About: "vvudev gives a stock QEMU, 10.1 or later, the virtio-vhost-user PCI device.",
	Usage: "vvudev --vfio-user PATH --vhost-user PATH --ram FILE [flags]\n" +
		"vvudev --vfio-user PATH --vhost-user PATH --shadow SIZE [flags]\n" +
		"vvudev --device vfio-user=PATH,vhost-user=PATH --device … --shadow SIZE [flags]",
	Notes: "Exit codes: 0 after a signal, 1 run-time failure, 2 usage, 3 the RAM file or a socket is not usable.",
}

// parseOptions reads the command line. Help goes to out.
func parseOptions(args []string, out io.Writer) (o options, err error) {
	f := cli.NewFlags("vvudev")
	f.StringVar(&o.vfioUser, "vfio-user", "", "listen on the socket `PATH` for the driver VM's QEMU")
	f.StringVar(&o.vhostUser, "vhost-user", "", "listen on the socket `PATH` for the app VM's monitor")
	f.StringVar(&o.ram, "ram", "", "the app VM's RAM `FILE`, its mem-path")
	f.Var(&o.createRAM, "create-ram", "create or resize the RAM file to `SIZE`, e.g. 256M or 4G")
	o.shadowFlags(f)
	f.Var(&o.memory, "max-memory", fmt.Sprintf("refuse a driver VM, and with --shadow an app VM, that shares more than `SIZE`, such as 64G (default %d times the machine's memory)", generosity))
	f.IntVar(&o.queues, "queues", device.MaxQueues, "number of vrings that can be connected, `N` from 1 to 256")
	f.Var(&o.uuid, "uuid", "identity of the device, a `UUID` (default random)")
	f.Func("log-level", "lowest `LEVEL` to log: debug, info, warn or error (default info)", logging.SetLevel(&o.logLevel))
	f.StringVar(&o.logFormat, "log-format", logging.Console, "`FORM` of the log: console or json")
	f.BoolVar(&o.noConfine, "no-confine", false, "keep all privileges after start-up, for debugging")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	cli.Once(f, "vfio-user", "vhost-user", "ram", "uuid", "cpus")
	err = cli.Parse(f, withDefaultSize(args), out, helpText)
	o.noteUsed(f)
	given := cli.Given(f, "uuid")
	if err == nil && !o.version && given && o.named() {
		err = cli.Usagef("--uuid is for one device: give each its own, as in --device vfio-user=PATH,vhost-user=PATH,uuid=UUID")
	}
	if err == nil && !o.version {
		err = o.checkShadow()
	}
	switch {
	case err != nil || o.version:
		return o, err
	case o.queues < 1 || o.queues > device.MaxQueues:
		return o, cli.Usagef("--queues %d: must be 1 to %d", o.queues, device.MaxQueues)
	case !logging.Known(o.logFormat):
		return o, cli.Usagef("--log-format %q: must be console or json", o.logFormat)
	case o.named():
	case o.vfioUser == "":
		return o, cli.Usagef("--vfio-user PATH is missing: the socket for the driver VM's QEMU")
	case o.vhostUser == "":
		return o, cli.Usagef("--vhost-user PATH is missing: the socket for the app VM's monitor")
	case filepath.Clean(o.vfioUser) == filepath.Clean(o.vhostUser):
		return o, cli.Usagef("--vfio-user and --vhost-user are both %s: give each a socket of its own", o.vfioUser)
	case o.ram == "" && !o.on():
		return o, cli.Usagef("--ram FILE is missing: the app VM's RAM file; or use --shadow SIZE, which needs none")
	}
	if !given {
		o.uuid = randomUUID()
	}
	if !o.named() {
		o.devices = []shadowDevice{{vfioUser: o.vfioUser, vhostUser: o.vhostUser, uuid: o.uuid}}
	}
	return o, o.checkSizes()
}

// randomUUID makes one of version 4 (RFC 9562).
func randomUUID() (u uuid) {
	rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// uuid is 16 bytes, written as 8-4-4-4-12 hexadecimal digits.
type uuid [16]byte

func (u *uuid) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Set implements flag.Value.
func (u *uuid) Set(text string) error {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err == nil && len(raw) == len(u) {
		copy(u[:], raw)
	}
	if err != nil || len(raw) != len(u) || !strings.EqualFold(u.String(), text) {
		return errors.New("want a UUID such as 123e4567-e89b-42d3-a456-426614174000")
	}
	return nil
}
