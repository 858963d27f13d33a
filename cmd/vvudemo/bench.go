package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/cmd/vvudemo/rates"
	"vvufwd/cmd/vvudemo/show"
)

// benchOptions are the flags of --pktgen.
type benchOptions struct {
	on     bool
	sizes  []pktgen.Sizes
	time   time.Duration
	beside []*rates.Report
	// The driver VM's RAM disk, if something else forwards, and what its console says then.
	otherImage, otherReady string
}

// defaultSizes are those of RFC 2544 without the FCS, as far as they fit an MTU of 1500, and a mix.
const defaultSizes = "60,124,252,508,1020,1276,1514,imix"

// define defines them.
func (o *benchOptions) define(fs *flag.FlagSet) {
	fs.BoolVar(&o.on, "pktgen", false, "instead of anything else, measure with packet generators at both ends how many frames arrive, and leave BUILD/demo/pktgen.json and pktgen.svg")
	_ = o.setSizes(defaultSizes)
	fs.Func("pktgen-sizes", "with --pktgen: `SIZES` of frames without FCS, separated by commas: bytes, or imix (default "+defaultSizes+")", o.setSizes)
	fs.DurationVar(&o.time, "pktgen-time", 3*time.Second, "with --pktgen: send for `DURATION` for each figure")
	fs.Func("pktgen-beside", "with --pktgen: a `FILE` that it has left in another run, to compare with; may be repeated", func(path string) error {
		r, err := rates.Read(path)
		o.beside = append(o.beside, r)
		return err
	})
	fs.StringVar(&o.otherImage, "other-image", "", "with --pktgen: boot the driver VM from this RAM disk (initramfs) `FILE`, whose /init makes something else forward, to compare with; it need not count")
	fs.StringVar(&o.otherReady, "other-ready", "forwarding", "with --other-image: `WORDS` of its console when it forwards")
}

func (o *benchOptions) setSizes(text string) error {
	o.sizes = nil
	for word := range strings.SplitSeq(text, ",") {
		s, err := pktgen.ParseSizes(word)
		if err != nil {
			return err
		}
		if s.Max() > largestFrame {
			return fmt.Errorf("%q: want %d at most, for the MTU is 1500", word, largestFrame)
		}
		o.sizes = append(o.sizes, s)
	}
	return nil
}

const largestFrame = 1514

func (o *benchOptions) check(fs *flag.FlagSet) error {
	for _, name := range []string{"pktgen-sizes", "pktgen-time"} {
		if !o.on && cli.Given(fs, name) {
			return cli.Usagef("--%s is for measurements: give --pktgen", name)
		}
	}
	switch {
	case o.otherImage == "" && cli.Given(fs, "other-ready"):
		return cli.Usagef("--other-ready is what the console of --other-image says: give that, too")
	case !o.on && o.otherImage != "":
		return cli.Usagef("--other-image is for measurements: give --pktgen")
	case o.otherReady == "":
		return cli.Usagef("--other-ready: want words of the console")
	case !o.on && o.beside != nil:
		return cli.Usagef("--pktgen-beside compares measurements: give --pktgen")
	case o.time < 100*time.Millisecond || o.time > time.Hour:
		return cli.Usagef("--pktgen-time %v: want 100ms to 1h", o.time)
	}
	return nil
}

// limit is how long it may take on a slow machine.
func (o *benchOptions) limit() time.Duration {
	if !o.on {
		return 0
	}
	return time.Duration(len(o.sizes)*len(rates.Loads)) * (o.time + 30*time.Second)
}

// measure runs the measurement, leaves its files, and returns its table.
func (o *options) measure(ctx context.Context, cfg show.Config) (table, error) {
	cfg.Bench = &show.Bench{Sizes: o.bench.sizes, Time: o.bench.time}
	result, err := show.RunBench(ctx, cfg)
	t := rates.Table{Report: result, Beside: o.bench.beside}
	if len(result.Rows) == 0 {
		return nil, err
	}
	return t, errors.Join(err, leave(cfg.OutDir, cfg.Progress, t))
}

// leave leaves a measurement's files.
func leave(dir string, progress io.Writer, t rates.Table) error {
	file, plot := filepath.Join(dir, "pktgen.json"), filepath.Join(dir, "pktgen.svg")
	if err := t.Save(file); err != nil {
		return err
	}
	f, err := os.Create(plot)
	if err != nil {
		return err
	}
	if err := errors.Join(t.WritePlot(f), f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(progress, "left %s and %s\n", file, plot)
	return nil
}

// jsonOption is --json, for standard output, or --json=FILE.
type jsonOption struct {
	stdout bool
	file   string
	out    *os.File // that, open
}

// IsBoolFlag lets it go without a value.
func (*jsonOption) IsBoolFlag() bool { return true }

func (j *jsonOption) String() string { return j.file }

// Set is flag.Value's.
func (j *jsonOption) Set(text string) error {
	switch { // see cli.Once
	case j.file != "" && text != "false":
		return errors.New("it is given twice, first as " + j.file)
	case j.stdout && text != "true" && text != "false":
		return errors.New("it is given twice, first without a file")
	}
	switch text {
	case "true":
		*j = jsonOption{stdout: true}
	case "false":
		*j = jsonOption{}
	case "":
		return errors.New("want --json, or --json=FILE")
	default:
		*j = jsonOption{file: text}
	}
	return nil
}

// open opens the file that is written at the end, so that a name of no use is found out before machines are booted. What an
// earlier run left there stays until then.
func (j *jsonOption) open() (err error) {
	if j.file == "" {
		return nil
	}
	if j.out, err = os.OpenFile(j.file, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return cli.Unusablef("--json: %w", err)
	}
	return nil
}
