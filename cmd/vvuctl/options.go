package main

import (
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/control"
)

// defaultControl is where vvufwd is asked if nothing else is said.
const defaultControl = "/run/vvufwd/control.sock"

// instances are the sockets of services: vvufwd@NAME is started in /run/vvufwd-NAME.
var instances = "/run/vvufwd-*/control.sock"

// envControl says something else.
const envControl = "VVUCTL_CONTROL"

type options struct {
	control channel.Address
	request control.Request
	json    bool
	watch   time.Duration
	timeout time.Duration
	version bool
}

var helpText = cli.Help{
	About: "vvuctl asks a running vvufwd about itself.",
	Usage: `vvuctl [flags] ports|stats|links|switch|version|metrics
vvuctl [flags] capture [start|stop [PORT]]
vvuctl [flags] log-level [debug|info|warn|error]`,
	Notes: `ports: what is joined with what; stats: frames, bytes and drops; links: what can pass; switch: its ports and what it
knows; capture: what is written where, and to start and stop it; metrics: all that is counted, for Prometheus.
vvufwd has to be started with --control, and with ",write" after it to be changed. See "vvufwd help control".
Exit codes: 0 done, 1 no answer or a refusal, 2 usage.`,
	Words: []cli.Command{
		{Name: control.Ports, Flags: true}, {Name: control.Stats, Flags: true}, {Name: control.Links, Flags: true}, {Name: control.Switch, Flags: true},
		{Name: control.Captures, Then: []string{"start", "stop"}, Flags: true}, {Name: control.LogLevel, Then: control.Levels, Flags: true},
		{Name: control.Version, Flags: true}, {Name: control.Metrics, Flags: true},
	},
}

// parseOptions reads the command line. Help goes to out.
func parseOptions(args []string, out io.Writer) (o options, err error) {
	f := cli.NewFlags("vvuctl")
	at := os.Getenv(envControl)
	if at == "" {
		at = defaultControl
	}
	f.StringVar(&at, "control", at, "`PATH` of the socket, or vsock:CID:PORT, at which vvufwd was told to answer; "+envControl+" in the environment does the same")
	f.BoolVar(&o.json, "json", false, "print what vvufwd has sent rather than a table")
	f.DurationVar(&o.watch, "watch", 0, "with stats: print rates each `INTERVAL`, such as 1s, until stopped")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "`TIME` to wait for an answer")
	f.BoolVar(&o.version, "version", false, "print the version of vvuctl and exit")
	cli.Once(f, "control")
	flags, words := split(f, args)
	if len(args) > 0 && args[0] == cli.CompletionWord {
		flags, words = args, nil // which no vvufwd is asked for
	}
	if err := cli.Parse(f, flags, out, helpText); err != nil || o.version {
		return o, err
	}
	if o.control, err = channel.ParseDial(at); err != nil {
		return o, cli.Usagef("--control %s: %w", at, err)
	}
	if len(words) == 0 {
		return o, cli.Usagef("what is to be asked? want one of %s; see --help", strings.Join(control.Words, ", "))
	}
	if o.request, err = request(words); err != nil {
		return o, err
	}
	switch {
	case o.timeout <= 0:
		return o, cli.Usagef("--timeout %v: want a positive time", o.timeout)
	case o.watch < 0 || o.watch == 0 && cli.Given(f, "watch"):
		return o, cli.Usagef("--watch %v: want a positive interval", o.watch)
	case o.watch > 0 && (o.request.Do != control.Stats || o.json):
		return o, cli.Usagef("--watch is for tables of stats")
	}
	return o, nil
}

// split tells flags, which may come after words, from words.
func split(f *flag.FlagSet, args []string) (flags, words []string) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return flags, append(words, args...)
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			words = append(words, arg)
			continue
		}
		flags = append(flags, arg)
		known := f.Lookup(strings.TrimLeft(arg, "-")) // none with its value
		if known == nil {
			continue
		}
		if !cli.Alone(known) && len(args) > 0 {
			flags, args = append(flags, args[0]), args[1:]
		}
	}
	return flags, words
}

// request makes one of words.
func request(words []string) (r control.Request, err error) {
	r.Do = words[0]
	rest := words[1:]
	switch {
	case !slices.Contains(control.Words, r.Do):
		return r, cli.Usagef("there is no %q, want one of %s", r.Do, strings.Join(control.Words, ", "))
	case r.Do == control.Captures && len(rest) > 0:
		set, ok := map[string]string{"start": control.On, "stop": control.Off}[rest[0]]
		if !ok {
			return r, cli.Usagef("capture %s: want start or stop, and perhaps a port", rest[0])
		}
		r.Set = set
		if rest = rest[1:]; len(rest) > 0 {
			if r.Port, rest = rest[0], rest[1:]; r.Port == "" {
				return r, cli.Usagef("capture %s \"\": want a port, or none for all captures", words[1])
			}
		}
	case r.Do == control.LogLevel && len(rest) > 0:
		if r.Set, rest = rest[0], rest[1:]; !slices.Contains(control.Levels, r.Set) {
			return r, cli.Usagef("log-level %s: want one of %s", r.Set, strings.Join(control.Levels, ", "))
		}
	}
	if len(rest) > 0 {
		return r, cli.Usagef("unexpected argument %q; see --help", rest[0])
	}
	return r, nil
}
