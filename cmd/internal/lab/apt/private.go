package apt

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Private is an apt with a state of its own in one directory: it believes that nothing is installed. Owned by one goroutine.
type Private struct {
	dir    string
	config string
	// progress is told what happens, a short text at a time.
	progress func(text string)
}

// NewPrivate lays out the state for one archive under dir, which is created. A state that is already there is reused, with
// what was downloaded. architecture is Debian's name of it ("amd64").
func NewPrivate(ctx context.Context, dir, architecture string, archive Source, progress func(string)) (*Private, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(dir, "\"\n") {
		return nil, fmt.Errorf("apt cannot work in %q: use a directory without quotes in its name", dir)
	}
	p := &Private{dir: dir, config: filepath.Join(dir, "apt.conf"), progress: progress}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "sources.d", "empty.d", "download"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("private apt state: %w", err)
		}
	}
	machine, err := machineSettings(ctx)
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"status":                 "",
		"sources.d/demo.sources": archive.String(),
		filepath.Base(p.config):  privateConfig(dir, architecture, os.Geteuid() == 0) + machine,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("private apt state: %w", err)
		}
	}
	return p, nil
}

// privateConfig is the configuration of the private apt. It is read first (APT_CONFIG) and turns off the machine's own
// configuration files, whose hooks are not meant for a private state.
func privateConfig(dir, architecture string, root bool) string {
	lines := []string{
		`Dir::Etc::main "/dev/null";`,
		fmt.Sprintf(`Dir::Etc::parts "%s/empty.d";`, dir),
		`Dir::Etc::sourcelist "/dev/null";`,
		fmt.Sprintf(`Dir::Etc::sourceparts "%s/sources.d";`, dir),
		`Dir::Etc::preferences "/dev/null";`,
		fmt.Sprintf(`Dir::Etc::preferencesparts "%s/empty.d";`, dir),
		fmt.Sprintf(`Dir::State "%s";`, dir),
		fmt.Sprintf(`Dir::State::lists "%s/lists";`, dir),
		fmt.Sprintf(`Dir::State::status "%s/status";`, dir),
		fmt.Sprintf(`Dir::Cache "%s/cache";`, dir),
		fmt.Sprintf(`APT::Architecture "%s";`, architecture),
		fmt.Sprintf(`APT::Architectures { "%s"; };`, architecture),
		`APT::Install-Recommends "false";`,
		`APT::Install-Suggests "false";`,
		`APT::Get::Assume-Yes "true";`,
		`Acquire::Languages "none";`,
		`Acquire::Retries "3";`,
	}
	if root {
		// apt's helper user usually may not read the directory that root works in.
		lines = append(lines, `APT::Sandbox::User "root";`)
	}
	return strings.Join(lines, "\n") + "\n"
}

// machineSettings returns how the machine's apt reaches its archives (proxies, timeouts, checks): the Acquire settings, without
// the list of index files to fetch, to which other programs add theirs.
func machineSettings(ctx context.Context) (string, error) {
	dump, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return "", fmt.Errorf("run apt-config: %w", err)
	}
	return acquireSettings(string(dump)), nil
}

func acquireSettings(dump string) string {
	var kept strings.Builder
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "Acquire::") && !strings.HasPrefix(line, "Acquire::IndexTargets") && !strings.HasPrefix(line, "Acquire::Languages") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// Update fetches the package lists of the archive's suites.
func (p *Private) Update(ctx context.Context) error {
	_, err := p.run(ctx, "apt-get", "update", "--error-on=any")
	return err
}

// Candidate returns the version of a package that release (a suite's name) offers, or "" when there is none.
func (p *Private) Candidate(ctx context.Context, release, name string) (string, error) {
	out, err := p.run(ctx, "apt-cache", p.preferring(release, "policy", name)...)
	if err != nil {
		return "", err
	}
	return candidate(out), nil
}

func candidate(policy string) string {
	for line := range strings.Lines(policy) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "Candidate:"); found {
			if value = strings.TrimSpace(value); value != "(none)" {
				return value
			}
		}
	}
	return ""
}

// Depends returns the names of the packages that a package depends on directly.
func (p *Private) Depends(ctx context.Context, name string) ([]string, error) {
	out, err := p.run(ctx, "apt-cache", "depends", "--important", name)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "Depends:"); found {
			names = append(names, strings.TrimSpace(value))
		}
	}
	return names, nil
}

// Closure downloads packages of a release with everything they depend on and returns the package files.
func (p *Private) Closure(ctx context.Context, release string, names ...string) ([]string, error) {
	// Files of an earlier download, of other versions perhaps, must not be taken for part of this one.
	if _, err := p.run(ctx, "apt-get", "autoclean"); err != nil {
		return nil, err
	}
	if _, err := p.run(ctx, "apt-get", p.preferring(release, append([]string{"--download-only", "install"}, names...)...)...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(p.dir, "cache", "archives", "*.deb"))
}

// Single downloads one package alone and returns the package file.
func (p *Private) Single(ctx context.Context, name string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(p.dir, "download"), "")
	if err != nil {
		return "", fmt.Errorf("private apt state: %w", err)
	}
	if _, err := p.runIn(ctx, dir, "apt-get", "download", name); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d package files in %s, want one", name, len(files), dir)
	}
	return files[0], nil
}

// preferring puts the option in front that makes apt choose the versions of one release, which it would not do by itself for
// backports. An empty release leaves the choice to apt.
func (p *Private) preferring(release string, args ...string) []string {
	if release == "" {
		return args
	}
	return append([]string{"-o", "APT::Default-Release=" + release}, args...)
}

func (p *Private) run(ctx context.Context, program string, args ...string) (string, error) {
	return p.runIn(ctx, p.dir, program, args...)
}

// runIn runs one of apt's programs and returns its output. An error holds the lines in which apt says why.
func (p *Private) runIn(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+p.config, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run %s: %w", program, err)
	}
	var out, complaints strings.Builder
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		fmt.Fprintln(&out, line)
		switch {
		case strings.HasPrefix(line, "E: "), strings.HasPrefix(line, "Err:"):
			complaints.WriteString("\n    " + line)
		case strings.HasPrefix(line, "Get:"), strings.HasPrefix(line, "Need to get"):
			p.progress(line)
		}
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s %s: %w%s", program, strings.Join(args, " "), err, complaints.String())
	}
	return out.String(), lines.Err()
}
