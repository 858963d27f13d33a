package initramfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pings runs commands of the app VM's init in a shell, with programs in place of the guest's: each ping sends five and sees three
// answered. The kernel's count of answers grows by as many as late says in the first look after that.
func pings(t *testing.T, late string, commands string) string {
	t.Helper()
	functions, _, ok := strings.Cut(string(appInit), "\nmount -t proc ")
	if !ok {
		t.Fatal("the init mounts no proc")
	}
	_, functions, ok = strings.Cut(functions, "export PATH=/bin\n")
	if !ok {
		t.Fatal("the init sets no PATH")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ping":    "echo 10 > " + dir + "/answers; echo '5 packets transmitted, 3 packets received, 40% packet loss'",
		"nproc":   "echo 2",
		"taskset": "shift; exec \"$@\"",
		"sleep":   "expr $(cat " + dir + "/answers) + " + late + " > " + dir + "/sum; mv " + dir + "/sum " + dir + "/answers",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "answers"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(functions, "/tmp/", dir+"/") + "\nreplies() { cat " + dir + "/answers; }\npatience=3\n" + commands
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
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
