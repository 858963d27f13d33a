package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitArgs(t *testing.T) {
	for _, test := range []struct {
		name    string
		argv    []string
		environ []string
		cmdline string
		args    []string
		ignored []string
		wrong   string // a part of the error
	}{{
		name:    "as meant",
		argv:    []string{"/init", "--vvu", "0000:00:05.0", "--nic=0000:00:04.0"},
		environ: []string{"HOME=/", "TERM=linux"},
		cmdline: "console=ttyS0 quiet -- --vvu 0000:00:05.0 --nic=0000:00:04.0\n",
		args:    []string{"--vvu", "0000:00:05.0", "--nic=0000:00:04.0"},
	}, {
		name:    "a word that the kernel does not know",
		argv:    []string{"/init", "splash", "nosuch", "--vvu", "0000:00:05.0"},
		cmdline: "splash nosuch -- --vvu 0000:00:05.0\n",
		args:    []string{"--vvu", "0000:00:05.0"},
		ignored: []string{"splash", "nosuch"},
	}, {
		name:    "values are not taken for kernel words",
		argv:    []string{"/init", "--stats", "1s", "stray"},
		args:    []string{"--stats", "1s", "stray"},
		cmdline: "-- --stats 1s stray",
	}, {
		name:    "one dash",
		argv:    []string{"/init", "-version"},
		cmdline: "-- -version",
		args:    []string{"-version"},
	}, {
		name:    "no flags",
		argv:    []string{"/init", "auto", "-"},
		cmdline: "auto -",
		ignored: []string{"auto", "-"},
	}, {
		name: "nothing at all",
	}, {
		// The kernel has dropped the values, they have dots in them.
		name:    "no two dashes, values apart",
		argv:    []string{"/init", "--vvu", "--nic"},
		cmdline: "console=ttyS0 --vvu 0000:00:05.0 --nic 0000:00:04.0\n",
		wrong:   `"--vvu" is among`,
	}, {
		name:    "no two dashes, values attached",
		argv:    []string{"/init"},
		environ: []string{"HOME=/", "--vvu=0000:00:05.0"},
		cmdline: "console=ttyS0 --vvu=0000:00:05.0\n",
		wrong:   `"--vvu=0000:00:05.0" is among`,
	}, {
		// A boot loader that adds arguments by other means than the command line.
		name:    "flags that are not on the command line",
		argv:    []string{"/init", "--version"},
		cmdline: "console=ttyS0\n",
		args:    []string{"--version"},
	}, {
		name: "no /proc",
		argv: []string{"/init", "--version"},
		args: []string{"--version"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			args, ignored, err := splitArgs(test.argv, test.environ, test.cmdline)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), `"--"`) {
					t.Fatalf("error %v, want one with %q that says where to put the dashes", err, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(args)+len(test.args) > 0 && !cmp.Equal(args, test.args) {
				t.Errorf("arguments %q, want %q", args, test.args)
			}
			if len(ignored)+len(test.ignored) > 0 && !cmp.Equal(ignored, test.ignored) {
				t.Errorf("ignored %q, want %q", ignored, test.ignored)
			}
		})
	}
}

func TestModuleParams(t *testing.T) {
	got := moduleParams(`console=ttyS0 root=/dev/x.y ro vfio-pci.ids=1af4:1017,1af4:1058 vfio_pci.disable_idle_d3 ` +
		`vfio.mode="a b" .odd odd.=1 "quoted.a=1 b" -- vfio.late=1` + "\n")
	want := map[string]string{
		"vfio_pci": "ids=1af4:1017,1af4:1058 disable_idle_d3",
		"vfio":     `mode="a b"`,
		`"quoted`:  `a=1 b"`, // no module has such a name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("module parameters (-want +got):\n%s", diff)
	}
}

func TestIsInit(t *testing.T) {
	dir := t.TempDir()
	link := func(target string) string {
		name := filepath.Join(dir, target)
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	first, other := link("pid:[4026531836]"), link("pid:[4026532201]")
	for _, test := range []struct {
		pid  int
		link string
		want bool
	}{
		{1, first, true},
		{1, filepath.Join(dir, "no proc yet"), true},
		{1, other, false}, // a container
		{7, first, false},
		{7, filepath.Join(dir, "no proc yet"), false},
	} {
		if got := isInit(test.pid, test.link); got != test.want {
			t.Errorf("isInit(%d, %s) = %v", test.pid, test.link, got)
		}
	}
	if IsInit() || Supervised() {
		t.Error("a test is taken for an init")
	}
}
