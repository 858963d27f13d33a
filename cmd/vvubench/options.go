package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvubench/plan"
)

type options struct {
	rounds   int
	duration time.Duration
	only     *regexp.Regexp
	list     bool

	out, json string
	jsonFile  *os.File // the latter, open

	vvufwd, vvugen, testpmd, against string
	buildDir                         string

	cpu, generatorCPU int
	version           bool

	noInterfaces bool // no case with interfaces of the kernel can be measured
}

// againstTestpmd is the value of --against that names no file.
const againstTestpmd = "testpmd"

var helpText = cli.Help{
	About: "vvubench measures vvufwd side by side with DPDK's testpmd.",
	Usage: "vvubench [flags]",
	Notes: "Exit codes: 0 done, 1 run-time failure, 2 usage.",
}

// parseOptions reads the command line. Help goes to out.
func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{only: regexp.MustCompile("")}
	f := cli.NewFlags("vvubench")
	f.IntVar(&o.rounds, "rounds", 11, "measure each case `N` times with either peer")
	f.DurationVar(&o.duration, "duration", 300*time.Millisecond, "each for `TIME`")
	f.Func("only", "measure only cases whose name matches `REGEX`, see --list; and those that these need", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	f.BoolVar(&o.list, "list", false, "list the cases and exit")
	f.StringVar(&o.out, "out", "table", "print `WHAT`: table or json")
	f.StringVar(&o.json, "json", "", "write JSON to `FILE` as well")
	f.StringVar(&o.vvufwd, "vvufwd", "", "`PATH` of the vvufwd to measure (default: beside this program)")
	f.StringVar(&o.vvugen, "vvugen", "", "`PATH` of vvugen (default: beside this program)")
	f.StringVar(&o.testpmd, "testpmd", "", "`PATH` of dpdk-testpmd (default: from PATH, or unpacked from Debian's packages)")
	f.StringVar(&o.against, "against", againstTestpmd, "compare with `WHAT`: testpmd, or the path of another vvufwd")
	f.StringVar(&o.buildDir, "build-dir", "", "`DIRECTORY` for what has to be unpacked (default: build in the source tree that the working directory, or vvubench, is in)")
	f.IntVar(&o.cpu, "cpu", 0, "forward on CPU `N`")
	f.IntVar(&o.generatorCPU, "generator-cpu", 1, "generate on CPU `N`")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	cli.Once(f, "only")
	err := cli.Parse(f, args, out, helpText)
	if err != nil || o.version || o.list {
		return o, err
	}
	if o.buildDir == "" {
		o.buildDir = tools.BuildDir()
	}
	if o.json == "" && cli.Given(f, "json") {
		return o, cli.Usagef("--json is empty: name the file to write")
	}
	return o, o.check()
}

// check finds what does not go together, or not with this machine.
func (o *options) check() error {
	switch {
	case o.rounds < 1:
		return cli.Usagef("--rounds %d: must be 1 or more", o.rounds)
	case o.duration < 10*time.Millisecond:
		return cli.Usagef("--duration %v: must be 10ms or more", o.duration)
	case o.out != "table" && o.out != "json":
		return cli.Usagef("--out %q: must be table or json", o.out)
	case o.against == "":
		return cli.Usagef("--against is empty: name testpmd or the path of a vvufwd")
	case len(o.cases()) == 0:
		return cli.Usagef("--only %v: no case has such a name (see --list)", o.only)
	case o.cpu == o.generatorCPU:
		return cli.Usagef("--cpu %d and --generator-cpu %d: forwarder and generator need a CPU each", o.cpu, o.generatorCPU)
	}
	var usable unix.CPUSet
	if err := unix.SchedGetaffinity(0, &usable); err != nil {
		return fmt.Errorf("find out which CPUs may be used: %w", err)
	}
	return checkCPUs(o, usable)
}

// checkCPUs refuses CPUs that cannot be used.
func checkCPUs(o *options, usable unix.CPUSet) error {
	if n := usable.Count(); n < 2 {
		return fmt.Errorf("a forwarder and a generator that both poll need two CPUs, and only %d may be used here: run on a larger machine, or without taskset", n)
	}
	for _, c := range []struct {
		flag string
		cpu  int
	}{{"--cpu", o.cpu}, {"--generator-cpu", o.generatorCPU}} {
		if c.cpu < 0 || !usable.IsSet(c.cpu) {
			return cli.Usagef("%s %d: this CPU cannot be used, choose one that nproc and taskset allow", c.flag, c.cpu)
		}
	}
	return nil
}

// cases are those to measure. Without testpmd there is no second opinion.
func (o *options) cases() (cases []plan.Case) {
	for _, c := range plan.Select(plan.Default(), o.only) {
		if (!c.Opinion || o.needsTestpmd()) && (!throughInterfaces(c) || !o.noInterfaces) {
			cases = append(cases, c)
		}
	}
	return cases
}

// needsTestpmd reports whether testpmd has to be found.
func (o *options) needsTestpmd() bool { return o.against == againstTestpmd || o.testpmd != "" }
