package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/logging"
	"vvufwd/cmd/internal/reports"
	"vvufwd/cmd/vvufwd/help"
	"vvufwd/cmd/vvufwd/keeper"
	"vvufwd/cmd/vvufwd/reopen"
	"vvufwd/cmd/vvufwd/upkeep"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/vvu/session"
	"vvufwd/vvu/socket"
)

// options is the parsed command line.
type options struct {
	ports     []portSpec
	listeners listeners        // of those at sockets
	opened    interfaces       // of those over the kernel's interfaces
	nodes     vfio.Nodes       // for those on PCI, if they are open already
	bare      *vfio.Bare       // those on PCI that no IOMMU confines
	held      vfio.Held        // of these, what the keeper holds
	bindings  []pci.Binding    // what was done to get the others, for the keeper to undo
	devmem    *os.File         // /dev/mem, nil: there is none
	keeper    *keeper.Keeper   // of those on PCI, nil: there is none, or not yet
	reopener  *reopen.Reopener // of AF_XDP sockets, nil: there is none
	upkeep    *upkeep.Upkeep   // of the kernel's interfaces, nil: there is none

	switched bool // all ports are joined in a switch
	isolate  bool // its app VMs from each other
	macAge   time.Duration
	macLimit int

	cpus      []int
	idleAfter time.Duration
	reports   reports.Reports
	bind      bool
	bindAsked bool     // by flag
	modules   []string // to load, as init

	hugePages        int
	requireHugePages bool
	unsafeInterrupts bool
	noIOMMU          bool

	captures   []captured
	asked      asked
	followLink bool

	maxMemory cli.Size // 0: by the machine's
	sharing   socket.Limits

	queues    int
	queueSize int
	logLevel  zapcore.Level
	level     zap.AtomicLevel // that, until a client changes it
	logFormat string
	version   bool

	owned      bool // the machine is ours alone
	privileged bool // all privileges are kept
}

// Huge pages that are reserved when none are asked for: enough for the rings and
// buffers of several queue pairs of each NIC, also with jumbo frames if the NIC merges buffers.
const (
	hugePagesAnyway  = 4
	hugePagesEachNIC = 12

	byPorts = math.MinInt // no number of huge pages was asked for
)

// parseFlags reads the command line. asInit is whether we are PID 1, where some
// defaults differ: no one else can bind functions or reserve huge pages.
func parseFlags(args []string, asInit bool, help io.Writer) (*options, error) {
	o := &options{logLevel: zapcore.InfoLevel, level: zap.NewAtomicLevel(), hugePages: byPorts, owned: asInit}
	fs := cli.NewFlags("vvufwd")

	port := func(parse func(string) (portSpec, error)) func(string) error {
		return func(s string) error {
			p, err := parse(s)
			o.ports = append(o.ports, p)
			return err
		}
	}
	short := func(kind string) func(string) error {
		return port(func(s string) (portSpec, error) { return parsePort(kind, "--"+kind, s) })
	}
	fs.Func("vvu", "`PCI` address of a virtio-vhost-user function; repeat for more pairs", short("vvu"))
	fs.Func("nic", "`NIC`: a PCI address, driver chosen by its id; or an interface, which stays with its kernel driver; repeat for more pairs", short("nic"))
	fs.Func("vhost-user", "`SOCKET` at which to wait for a front-end; \"SOCKET,client\" to connect to it", short("vhost-user"))
	fs.Func("port", "`KIND:ADDRESS` of any port: "+strings.Join(kinds, ", ")+"; a port of a switch takes \",mac=AA:BB:CC:DD:EE:FF\", the only source address that it may use, and \",isolate\"; a Wi-Fi card in station mode is packet:IFACE,l2nat: what is sent there has its address", port(parseKindPort))
	o.switchFlags(fs)
	fs.Func("cpus", "`LIST` of CPUs, such as 1,2 or 1-3, each with a loop pinned to it; queue pairs are assigned to them, a switch has one (default: not pinned, as many loops as CPUs but one)", func(s string) (err error) {
		o.cpus, err = cli.ParseCPUs(s)
		return err
	})
	fs.DurationVar(&o.idleAfter, "idle-after", 500*time.Microsecond, "sleep until a kick when no frame came for this `TIME` (up to four times as long while that pays) and 16 looks at the rings, and wake up for frames that come regularly; 0s: at once; negative: always poll")
	o.reports.Flags(fs, "")
	fs.Func("capture", "write the frames of a port to a file in pcapng format, with their direction: `PORT=FILE`[,snaplen=BYTES][,off][,filter=EXPRESSION], such as nic:0000:00:04.0=/tmp/nic.pcapng,filter=arp or icmp; or to whoever reads them live at unix:PATH, vsock:PORT or virtio-serial:NAME; SIGUSR1 starts and SIGUSR2 stops it; repeat for more ports", func(s string) error {
		o.captures = append(o.captures, captured{text: s})
		return nil
	})
	fs.Func("control", "answer vvuctl at `PATH`, a socket that is made, vsock:PORT or virtio-serial:NAME; with \",write\" appended it may start and stop captures and change the log level", o.asked.setControl)
	fs.Func("metrics", "serve metrics for Prometheus at http://`ADDRESS`/metrics, such as 127.0.0.1:9100; anyone who can connect can read them", o.asked.setMetrics)
	o.initFlags(fs, asInit)
	fs.Func("hugepages", fmt.Sprintf("as /init: reserve `N` huge pages of 2 MiB; 0: none (default %d, and %d more for each NIC)", hugePagesAnyway, hugePagesEachNIC), func(s string) (err error) {
		if o.hugePages, err = strconv.Atoi(s); err != nil {
			err = errors.New("want a whole number")
		}
		return err
	})
	fs.BoolVar(&o.requireHugePages, "require-hugepages", false, "fail rather than fall back to pages of 4 KiB for DMA memory")
	fs.BoolVar(&o.unsafeInterrupts, "allow-unsafe-interrupts", false, "as /init: do without interrupt remapping; a device can then inject any interrupt")
	fs.BoolVar(&o.noIOMMU, "noiommu", false, "use functions that no IOMMU confines, in huge pages: a device that is fooled can then write anywhere in this machine's memory; as /init, turns the kernel's mode for that on")
	fs.BoolVar(&o.followLink, "follow-link", false, "take guests' links down with their NIC's, by refusing their front-ends; QEMU needs reconnect-ms at its chardev for that, and does not start a machine while the link is down")
	fs.Func("max-memory", fmt.Sprintf("refuse front-ends at sockets that share more than `SIZE`, such as 64G (default %d times the machine's memory); at most half of the process's address space for all together", generosity), o.maxMemory.Set)
	fs.IntVar(&o.queues, "queues", session.MaxPairs, "serve up to `N` queue pairs of each port, at most 8; how many are used, its front-end and guest choose")
	fs.IntVar(&o.queueSize, "queue-size", 256, "`ENTRIES` of a NIC's rings, at most what the device allows")
	fs.Func("log-level", "lowest `LEVEL` to log: debug, info, warn or error (default info)", logging.SetLevel(&o.logLevel))
	fs.StringVar(&o.logFormat, "log-format", "console", "`FORM` of the log: console or json")
	fs.BoolVar(&o.privileged, "no-confine", false, "keep all privileges once ports are served, for debugging")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")

	cli.Once(fs, "control", "metrics", "cpus")
	err := cli.Parse(fs, args, help, helpText)
	if err != nil && o.bindAsked && fs.NArg() > 0 {
		err = cli.Usagef("--bind %s: %w", fs.Arg(0), bindsNoName(fs.Arg(0)))
	}
	if err != nil || o.version {
		return o, err
	}
	if o.hugePages == byPorts {
		o.hugePages = hugePagesFor(o.ports)
	}
	if err := o.misplaced(fs, asInit); err != nil {
		return nil, err
	}
	return o, o.check()
}

// hugePagesFor is how many huge pages ports take.
func hugePagesFor(ports []portSpec) int {
	n := hugePagesAnyway
	for _, p := range ports {
		if p.onPCI() && p.uplink() {
			n += hugePagesEachNIC
		}
	}
	return n
}

// loopCPUs is the CPU of each loop, -1 if it is not pinned, for ports that make
// sense of up to lanes loops. By default there are as many, but one CPU is left to
// everyone else.
func (o *options) loopCPUs(lanes int) []int {
	if len(o.cpus) > 0 {
		return o.cpus
	}
	cpus := make([]int, max(1, min(lanes, runtime.NumCPU()-1)))
	for i := range cpus {
		cpus[i] = -1
	}
	return cpus
}

// check finds contradictions.
func (o *options) check() error {
	switch {
	case o.logFormat != "console" && o.logFormat != "json":
		return cli.Usagef("--log-format %q: want console or json", o.logFormat)
	case o.hugePages < 0:
		return cli.Usagef("--hugepages %d: want 0 or more", o.hugePages)
	case o.queues < 1 || o.queues > session.MaxPairs:
		return cli.Usagef("--queues %d: want 1 to %d", o.queues, session.MaxPairs)
	case o.macAge < time.Second:
		return cli.Usagef("--mac-age %v: want 1s or more", o.macAge)
	case o.queueSize < 2 || o.queueSize > 32768 || o.queueSize&(o.queueSize-1) != 0:
		return cli.Usagef("--queue-size %d: want a power of two from 2 to 32768", o.queueSize)
	}
	if err := o.reports.Check(); err != nil {
		return err
	}
	if err := o.checkPorts(); err != nil {
		return err
	}
	if err := o.checkFollowLink(); err != nil {
		return err
	}
	if err := o.checkCaptures(); err != nil {
		return err
	}
	if err := o.checkAsked(); err != nil {
		return err
	}
	if err := o.checkBind(); err != nil {
		return err
	}
	return o.checkMemory()
}

var helpText = cli.Help{
	About: `vvufwd forwards packets between virtio-vhost-user devices and NICs through VFIO,
vhost-user sockets, and network interfaces of the kernel.`,
	Usage: `vvufwd --vvu PCI --nic PCI [flags]
vvufwd --switch --nic PCI --vvu PCI,mac=ADDRESS --vvu PCI,mac=ADDRESS ... [flags]
vvufwd check [init] [flags]
vvufwd help [TOPIC]`,
	Words: []cli.Command{{Name: "help", Then: help.Topics()}, {Name: checkWord, Then: []string{checkForInit}, Flags: true}},
	Notes: `Ports are paired in the order given, or joined in one switch. "check" checks flags and starts nothing;
with "init" those of a driver VM's /init. Exit codes: 0 done, 1 run-time failure, 2 usage, 3 a device
is not usable, 4 a device is gone: restart what provides it, and this machine after it.`,
}
