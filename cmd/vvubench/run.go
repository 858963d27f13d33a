package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/measure"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/peer"
	"vvufwd/cmd/vvubench/plan"
	"vvufwd/cmd/vvubench/report"
	"vvufwd/cmd/vvubench/testpmd"
)

// run is the program.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, out)
	switch {
	case err != nil:
		return err
	case o.version:
		_, err := fmt.Fprintln(out, cli.Version("vvubench"))
		return err
	case o.list:
		return list(out)
	}
	tell := func(text string) { fmt.Fprintln(progress, text) }
	if err := o.openJSON(); err != nil {
		return err
	}
	if done, err := inNamespace(ctx, o, args, out, progress, tell); done || err != nil {
		return err
	}
	dir, err := vm.SocketDir("vvubench")
	if err != nil {
		return err
	}
	runner, document, err := prepare(ctx, o, dir, tell)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	document.Cases, err = runner.Run(ctx, o.cases())
	document.Repeated = runner.Repeated()
	for i, p := range runner.Peers {
		document.Peers[i].Version = p.Version()
	}
	if err != nil {
		document.Failure = firstLine(err)
		tell("logs are in " + dir)
	} else {
		err = os.RemoveAll(dir)
	}
	if len(document.Cases) == 0 {
		return err
	}
	return errors.Join(err, publish(out, o, document)) // also half of it
}

// prepare finds the programs and describes what is going to be measured.
func prepare(ctx context.Context, o *options, dir string, tell func(string)) (*measure.Runner, *report.Document, error) {
	vvugen, err := beside(o.vvugen, "vvugen")
	if err != nil {
		return nil, nil, err
	}
	r := &measure.Runner{
		Load: load.NewVvugen(vvugen), Rounds: o.rounds, Duration: o.duration,
		CPU: o.cpu, LoadCPU: o.generatorCPU, Dir: dir, Progress: tell,
	}
	if err := findPeers(ctx, o, r, tell); err != nil {
		return nil, nil, err
	}
	d := &report.Document{
		Time: time.Now().UTC().Round(time.Second), Machine: noise.Describe(), CPU: o.cpu, GeneratorCPU: o.generatorCPU,
		Rounds: o.rounds, Seconds: o.duration.Seconds(), Generator: versionOf(ctx, vvugen),
	}
	for i, p := range r.Peers {
		d.Peers[i].Name = p.Name()
	}
	return r, d, nil
}

// findPeers finds what to measure, and what with: first what may be named wrongly, then what may have to be fetched.
func findPeers(ctx context.Context, o *options, r *measure.Runner, tell func(string)) error {
	if err := findVvufwds(ctx, o, r); err != nil || !o.needsTestpmd() {
		return err
	}
	found, err := testpmd.Find(ctx, testpmd.Options{Path: o.testpmd, BuildDir: o.buildDir, Progress: tell})
	if err != nil {
		return fmt.Errorf("%w (flag --testpmd; or compare two vvufwd with --against)", err)
	}
	r.Opinion = load.NewVirtioUser(found)
	if o.against == againstTestpmd {
		r.Peers[0] = peer.NewTestpmd(found)
	}
	return nil
}

// findVvufwds finds the vvufwd to measure, and the one that it is compared with if that is one.
func findVvufwds(ctx context.Context, o *options, r *measure.Runner) error {
	program, err := beside(o.vvufwd, "vvufwd")
	if err != nil {
		return err
	}
	ours, err := peer.NewVvufwd(ctx, "vvufwd", program)
	if err != nil {
		return err
	}
	r.Peers[1] = ours
	if o.against != againstTestpmd {
		other, err := peer.NewVvufwd(ctx, "other", o.against)
		if err != nil {
			return fmt.Errorf("--against: %w", err)
		}
		r.Peers[0] = other
	}
	return nil
}

// beside is the path of a program that was named, or of the one beside this one.
func beside(named, program string) (string, error) {
	path := named
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find %s: %w: name it with --%s", program, err, program)
		}
		path = filepath.Join(filepath.Dir(self), program)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: build it (make build), or name it with --%s", err, program)
	}
	return path, nil
}

// versionOf asks a program for its version.
func versionOf(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return filepath.Base(program) + " of unknown version"
	}
	return strings.TrimSpace(string(out))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// publish prints the document, and writes it to the file that was named.
func publish(out io.Writer, o *options, d *report.Document) error {
	print := report.Table
	if o.out == "json" {
		print = report.JSON
	}
	err := print(out, d)
	if o.json == "" {
		return err
	}
	fileErr := o.jsonFile.Truncate(0) // of an earlier run
	if fileErr == nil {
		fileErr = errors.Join(report.JSON(o.jsonFile, d), o.jsonFile.Close())
	}
	if fileErr != nil {
		fileErr = fmt.Errorf("--json: %w", fileErr)
	}
	return errors.Join(err, fileErr)
}

// openJSON opens the file that is written at the end, so that a name of no use is found out
// before a quarter of an hour is spent. What an earlier run left there stays until then.
func (o *options) openJSON() (err error) {
	if o.json == "" {
		return nil
	}
	if o.jsonFile, err = os.OpenFile(o.json, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return cli.Usagef("--json: %w", err)
	}
	return nil
}

// list prints the names of all cases.
func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range plan.Default() {
		fmt.Fprintf(w, "%s\t%v\n", c.ID, c)
	}
	return w.Flush()
}
