package show

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

// A shell that runs what is printed runs the very commands of the demo, in the order in which they are needed.
func TestPrintedCommandsAreTheDemosOwn(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	program := filepath.Join(dir, "it's a program")
	script := "#!/bin/sh\nprintf '%s\\0' \"$@\" END >>'" + record + "'\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	qemu := machine.QEMU{Command: []string{program, "first"}, Version: machine.VfioUser}
	found := &tools.Tools{QEMU: qemu, AppQEMU: qemu, Vvudev: program, Kernel: filepath.Join(dir, "a kernel"), Modules: &kmod.Tree{}}
	for name, cfg := range map[string]Config{
		"plain":    {ForwarderArgs: []string{"--idle-after", "1ms"}},
		"shadow":   {Shadow: true},
		"switch":   {AppVMs: 3, Isolate: true},
		"direct":   {Direct: true},
		"built in": {Device: machine.BuiltIn, IOMMU: machine.None},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Tools, cfg.OutDir, cfg.Accel, cfg.SMP, cfg.Progress, cfg.NIC = found, filepath.Join(dir, "out"), "tcg", 2, t.Output(), machine.VirtioNet
			d := newDemo(cfg, func(error) {}, time.Now())
			if err := d.prepareForOthers(); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(d.run)
			var want []string
			count := 0
			add := func(argv []string) {
				want = append(append(want, argv[1:]...), "END")
				count++
			}
			if !cfg.Direct {
				for _, a := range d.apps {
					if cfg.Device == machine.VfioUserServer {
						add(d.deviceArgv(a))
					}
				}
				add(d.driverMachine().Argv())
			}
			for _, a := range d.apps {
				add(d.appMachine(a).Argv())
			}
			var text strings.Builder
			if err := d.printCommands(&text); err != nil {
				t.Fatal(err)
			}
			// No one has made the file that is removed in the end.
			out, err := exec.Command("sh", "-c", strings.ReplaceAll(text.String(), "rm -r ", "rm -rf ")).CombinedOutput()
			got, _ := os.ReadFile(record)
			os.Remove(record)
			if err != nil || !slices.Equal(strings.Split(strings.TrimSuffix(string(got), "\x00"), "\x00"), want) || count == 0 {
				t.Errorf("%v, %s: ran %q, want %q", err, out, got, want)
			}
			if _, err := os.Stat(d.run); err == nil {
				t.Errorf("%s is left", d.run)
			}
			if ram := d.apps[0].ram.path(); !cfg.Direct && !cfg.Shadow && !strings.Contains(text.String(), "rm -r "+d.run+" "+ram) {
				t.Errorf("nothing removes %q:\n%s", ram, text.String())
			}
		})
	}
}
