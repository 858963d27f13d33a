package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/vvugen/port"
	"vvufwd/cmd/vvugen/traffic"
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

type options struct {
	ports   portList
	link    string // --interface
	stream  int
	both    bool
	txOnly  bool
	rxOnly  bool
	payload string

	size      int
	burst     int
	queueSize int
	window    int
	duration  time.Duration
	count     uint64
	rate      float64
	timeout   time.Duration

	verify, checksum, latency              bool
	mergeable, eventIdx, indirect, inOrder bool
	packed                                 bool

	cpu     int
	json    bool
	quiet   bool
	version bool
}

const (
	defaultDuration = 2 * time.Second
	windowOfRing    = -1
)

var helpText = cli.Help{
	About: "vvugen is a vhost-user front-end without a virtual machine: it generates, receives and checks frames.",
	Usage: `vvugen --port SOCKET --port SOCKET [flags]
vvugen --port SOCKET --tx-only | --rx-only [flags]
vvugen --interface NAME --tx-only | --rx-only [flags]`,
	Notes: "Exit codes: 0 done, 1 run-time failure, or --verify found something wrong, 2 usage.",
}

// parseOptions reads the command line. Help goes to out.
func parseOptions(args []string, out io.Writer) (o options, err error) {
	f := cli.NewFlags("vvugen")
	f.Var(&o.ports, "port", "vhost-user `SOCKET` of the back-end, \"SOCKET,server\" to listen on it; twice, paired in the order given if there are more, or once with --tx-only or --rx-only")
	f.StringVar(&o.link, "interface", "", "instead of a back-end's socket a network interface `NAME` of the kernel: frames are like those of the kernel's pktgen; with --tx-only or --rx-only")
	f.IntVar(&o.stream, "stream", 0, "with --interface: `NUMBER` of the stream, which is its UDP source port less 10000")
	f.BoolVar(&o.both, "both", false, "send both ways at once")
	f.BoolVar(&o.txOnly, "tx-only", false, "send into one port; what the back-end takes counts")
	f.BoolVar(&o.rxOnly, "rx-only", false, "receive from one port what the back-end sends")
	f.IntVar(&o.size, "size", port.MinFrame, "frame size in `BYTES` without FCS, 64 to 9000")
	f.StringVar(&o.payload, "payload", "headers", "`WHAT` to write of each frame: headers (one cache line) or full")
	f.IntVar(&o.burst, "burst", 32, "send up to `N` frames at once")
	f.IntVar(&o.queueSize, "queue-size", 256, "`ENTRIES` of each ring, a power of two")
	f.IntVar(&o.window, "window", windowOfRing, "at most `N` frames in flight, 0 for no limit (default: as many as the receive ring holds)")
	f.DurationVar(&o.duration, "duration", 0, "send for `TIME` (default 2s unless --count)")
	f.Uint64Var(&o.count, "count", 0, "send `N` frames per direction")
	f.Float64Var(&o.rate, "rate", 0, "send `PPS` frames per second and direction (default: as many as possible)")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "give up on a back-end that is away or does nothing for `TIME`")
	f.BoolVar(&o.verify, "verify", false, "check order, loss, headers, length and checksum of every frame")
	f.BoolVar(&o.checksum, "checksum", true, "with --verify: check whole payloads, not only headers")
	f.BoolVar(&o.latency, "latency", false, "measure how long frames take")
	f.BoolVar(&o.mergeable, "mergeable", true, "negotiate MRG_RXBUF; receive buffers are 2 KiB then, else as large as a frame")
	f.BoolVar(&o.eventIdx, "event-idx", false, "negotiate EVENT_IDX")
	f.BoolVar(&o.indirect, "indirect", false, "negotiate INDIRECT_DESC and send header and frame through indirect tables")
	f.BoolVar(&o.inOrder, "in-order", false, "negotiate IN_ORDER")
	f.BoolVar(&o.packed, "packed", false, "negotiate RING_PACKED; without --indirect and --in-order")
	f.IntVar(&o.cpu, "cpu", -1, "pin the loop to CPU `N` (default: not pinned)")
	f.BoolVar(&o.json, "json", false, "print one JSON object instead of a table")
	f.BoolVar(&o.quiet, "quiet", false, "print no progress")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	cli.Once(f, "interface")
	err = cli.Parse(f, args, out, helpText)
	if err != nil || o.version {
		return o, err
	}
	if o.duration == 0 && o.count == 0 && o.link == "" {
		o.duration = defaultDuration
	}
	if o.link != "" {
		return o, o.checkInterface(f)
	}
	return o, o.check(f)
}

// forSending are flags that are about the frames that are sent.
var forSending = []string{"burst", "payload", "window"}

// check finds what does not go together.
func (o *options) check(f *flag.FlagSet) error {
	for _, name := range forSending {
		if o.rxOnly && cli.Given(f, name) {
			return cli.Usagef("--rx-only sends nothing: leave out --%s", name)
		}
	}
	oneEnd, paths := o.txOnly || o.rxOnly, o.ports.checkPaths()
	switch {
	case o.stream != 0:
		return cli.Usagef("--stream %d: streams have numbers with --interface only", o.stream)
	case o.txOnly && o.rxOnly:
		return cli.Usagef("--tx-only and --rx-only exclude each other")
	case oneEnd && (o.both || o.verify || o.latency):
		return cli.Usagef("--tx-only and --rx-only see one end only: leave out --both, --verify and --latency")
	case o.rxOnly && (o.rate != 0 || o.count != 0):
		return cli.Usagef("--rx-only sends nothing: leave out --rate and --count")
	case oneEnd && len(o.ports) != 1:
		return cli.Usagef("--port given %d times, want 1: the socket of the back-end", len(o.ports))
	case !oneEnd && (len(o.ports) == 0 || len(o.ports)%2 != 0):
		return cli.Usagef("--port given %d times, want 2, or more pairs: the sockets of the back-end", len(o.ports))
	case len(o.ports) > maxPorts:
		return cli.Usagef("--port given %d times, want %d at most", len(o.ports), maxPorts)
	case o.ports.twice() != "":
		return cli.Usagef("--port %s given twice: give each port a socket of its own", o.ports.twice())
	case o.payload != "headers" && o.payload != "full":
		return cli.Usagef("--payload %q: must be headers or full", o.payload)
	case o.window < windowOfRing:
		return cli.Usagef("--window %d: must be 0 or more", o.window)
	case o.queueSize < 16 || o.queueSize > 32768 || o.queueSize&(o.queueSize-1) != 0:
		return cli.Usagef("--queue-size %d: must be a power of two from 16 to 32768", o.queueSize)
	case paths != nil:
		return paths
	case o.packed && (o.indirect || o.inOrder):
		return cli.Usagef("--packed goes without --indirect and --in-order")
	case o.timeout <= 0:
		return cli.Usagef("--timeout %v: must be positive", o.timeout)
	case o.cpu < -1:
		return cli.Usagef("--cpu %d: must be a CPU number", o.cpu)
	}
	plan := o.plan(0)
	if err := plan.Check(); err != nil {
		return cli.Usagef("%w; see --help", err)
	}
	return nil
}

// drainTime is how long to wait for frames in flight once none arrives: longer than a busy
// machine keeps a back-end from its CPU. Only frames that are lost cost it.
const drainTime = 2 * time.Second

// plan is the traffic to run when the receive rings hold so many frames.
func (o *options) plan(ringFrames int) traffic.Plan {
	window := o.window
	if window == windowOfRing {
		window = ringFrames
	}
	return traffic.Plan{
		Size: o.size, Full: o.payload == "full", Burst: o.burst,
		Duration: o.duration, Count: o.count, Rate: o.rate, Window: window,
		Verify: o.verify, Checksum: o.checksum, Latency: o.latency,
		Drain: drainTime, Stall: o.timeout,
	}
}

func (o *options) features() virtio.Features {
	var f virtio.Features
	for _, wish := range []struct {
		on  bool
		bit virtio.Features
	}{
		{o.mergeable, virtio.NetMrgRxbuf}, {o.eventIdx, virtio.EventIdx},
		{o.indirect, virtio.IndirectDesc}, {o.inOrder, virtio.InOrder}, {o.packed, virtio.RingPacked},
	} {
		if wish.on {
			f |= wish.bit
		}
	}
	return f
}

// portArg is the value of --port.
type portArg struct {
	path   string
	server bool
}

type portList []portArg

// maxPorts is how many ports there may be: a stream, of which a pair has up to
// two, has a number of eight bits.
const maxPorts = traffic.MaxWays

// twice is a path that stands in the list more than once, or "".
func (l portList) twice() string {
	for i, p := range l {
		if slices.ContainsFunc(l[:i], func(q portArg) bool { return q.path == p.path }) {
			return p.path
		}
	}
	return ""
}

// checkPaths refuses a path at which no back-end can ever be.
func (l portList) checkPaths() error {
	for _, p := range l {
		if err := p.check(); err != nil {
			return cli.Usagef("--port %s: %w", p.path, err)
		}
	}
	return nil
}

// check refuses what cannot become a socket. A back-end may make it later, and the service manager of a back-end its directory.
func (p portArg) check() error {
	path := p.path
	if err := vhostuser.CheckPath(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist) && !p.server:
		return nil
	case err != nil:
		return fmt.Errorf("its directory %s: %w", dir, errors.Unwrap(err))
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return errors.New("that is no socket: name the one at which the back-end listens")
	}
	return nil
}

func (l *portList) String() string {
	var names []string
	for _, p := range *l {
		names = append(names, p.path)
	}
	return strings.Join(names, " ")
}

// Set implements flag.Value.
func (l *portList) Set(text string) error {
	path, role, found := strings.Cut(text, ",")
	if path == "" || found && role != "server" && role != "client" {
		return errors.New("want SOCKET or SOCKET,server")
	}
	*l = append(*l, portArg{path: path, server: role == "server"})
	return nil
}
