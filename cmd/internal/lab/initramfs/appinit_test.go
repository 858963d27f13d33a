package initramfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runInit runs commands of the app VM's init in a shell, with programs in place of the guest's, in a directory that also stands for
// the guest's /tmp.
func runInit(t *testing.T, dir string, programs map[string]string, commands string) string {
	t.Helper()
	functions, _, ok := strings.Cut(string(appInit), "\nmount -t proc ")
	if !ok {
		t.Fatal("the init mounts no proc")
	}
	_, functions, ok = strings.Cut(functions, "export PATH=/bin\n")
	if !ok {
		t.Fatal("the init sets no PATH")
	}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(functions, "/tmp/", dir+"/")+"\n"+commands)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// pings runs commands in a guest in which each ping sends five and sees three answered. The kernel's count of answers grows by as
// many as late says in the first look after that.
func pings(t *testing.T, late string, commands string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "answers"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return runInit(t, dir, map[string]string{
		"ping":    "echo 10 > " + dir + "/answers; echo '5 packets transmitted, 3 packets received, 40% packet loss'",
		"nproc":   "echo 2",
		"taskset": "shift; exec \"$@\"",
		"sleep":   "expr $(cat " + dir + "/answers) + " + late + " > " + dir + "/sum; mv " + dir + "/sum " + dir + "/answers",
	}, "replies() { cat "+dir+"/answers; }\npatience=3\n"+commands)
}

// TestAnswersThatPingLeavesBehindCount: ping gives up on the last answers after a second once it has had others, which is too
// short on a busy machine. Those that come later are counted, those that never come are not.
func TestAnswersThatPingLeavesBehindCount(t *testing.T) {
	for _, test := range []struct{ name, late, commands, want string }{
		{"late", "1", "ping_host 5 h", "@@ ping ok 5 5 -"},
		{"lost", "0", "ping_host 5 h", "@@ ping ok 5 3 -"},
		{"others' too", "9", "ping_host 5 h", "@@ ping ok 5 5 -"},
		{"in the background", "1", "beside=1 ping_host 5 h", "@@ ping ok 5 3 -"},
		{"from each processor, late", "7", "spread 5 h", "@@ spread ok 2 10 10"},
		{"from each processor, lost", "0", "spread 5 h", "@@ spread ok 2 10 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := pings(t, test.late, test.commands); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestGeneratorIsGivenBackInItsOwnTime: the kernel's thread may take longer to let go of a device than the kernel waits for it, and
// would not take it a second time meanwhile.
func TestGeneratorIsGivenBackInItsOwnTime(t *testing.T) {
	const commands = "renew_generator && say taken || say kept; cat $generators/kpktgend_0"
	for _, test := range []struct{ name, waits, want string }{
		{"at once", "0", "@@ taken\nadd_device eth0"},
		{"late", "3", "@@ taken\nadd_device eth0"},
		{"never", "1000", "@@ kept\nrem_device_all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.waits != "0" {
				if err := os.WriteFile(filepath.Join(dir, "eth0"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := runInit(t, dir, map[string]string{
				"sleep": "cd " + dir + "; grep -q rem_device_all kpktgend_0 || echo added early; echo >> slept; [ $(wc -l < slept) -lt " + test.waits + " ] || rm eth0",
			}, "generators="+dir+"\n"+commands)
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
