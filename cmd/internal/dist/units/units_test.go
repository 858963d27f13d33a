package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dropIns are the drop-ins by their names.
func dropIns(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for name, text := range Files() {
		if dir, file := filepath.Split(name); dir == DropIns+"/" {
			all[file] = string(text)
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d drop-ins", len(all))
	}
	return all
}

// Each drop-in is told of where one looks for it, and adds to the unit: a policy in place of the unit's would refuse, beside its
// DeviceAllow, all that is not named.
func TestDropIns(t *testing.T) {
	unit := string(Files()["vvufwd@.service"])
	about, _, _ := strings.Cut(unit, "[Unit]")
	install, err := os.ReadFile("../../../vvufwd/help/install.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(unit, "\nDevicePolicy=closed\n") || !strings.Contains(unit, "\nDeviceAllow=") || strings.Contains(unit, "\nPrivateDevices=") {
		t.Error("the unit does not name the devices that it allows, or has a /dev without any")
	}
	for name, text := range dropIns(t) {
		for where, text := range map[string]string{"the unit's comment": about, "install.md": string(install)} {
			if !strings.Contains(text, name) {
				t.Errorf("%s does not name %s", where, name)
			}
		}
		if m := regexp.MustCompile(`(?m)^(DevicePolicy|PrivateDevices)=.*`).FindString(text); m != "" {
			t.Errorf("%s has %s", name, m)
		}
		// A kind of devices that no module has registered yet is passed over, and stays refused.
		if regexp.MustCompile(`(?m)^DeviceAllow=char-`).MatchString(text) {
			m := regexp.MustCompile(`(?m)^Wants=(modprobe@\w+\.service)$`).FindStringSubmatch(text)
			if m == nil || !strings.Contains(text, "\nAfter="+m[1]+"\n") {
				t.Errorf("%s names a kind of devices, and does not have its module loaded before", name)
			}
		}
	}
}

// systemd knows all settings of the units, with all drop-ins, and adds these to what the unit has.
func TestSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: there is no program systemd-analyze (Debian package systemd)")
	}
	dir := t.TempDir()
	for name, text := range Files() {
		if filepath.Dir(name) == DropIns {
			name = "vvufwd@app.service.d/" + filepath.Base(name)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command(analyze, args...)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":", "LC_ALL=C") // and the usual ones
		out, err := cmd.CombinedOutput()
		t.Logf("%q: %v", args, err) // it fails for programs that are not installed
		return string(out)
	}
	for line := range strings.Lines(run("verify", "--man=no", "vvufwd@app.service", "vvudev@app.service")) {
		if strings.HasPrefix(line, dir) {
			t.Error(line)
		}
	}
	out := run("security", "--offline=true", "--no-pager", "vvufwd@app.service")
	if strings.Contains(out, "nrecognized option") {
		t.Skip("a systemd before 250")
	}
	allowed := regexp.MustCompile(`device ACL with some special devices: (.*)`).FindString(out)
	for name, text := range dropIns(t) {
		for _, m := range regexp.MustCompile(`(?m)^DeviceAllow=(\S+) rw$`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(allowed, m[1]+":rw") {
				t.Errorf("%s allows %s, which the service may not: %s", name, m[1], allowed)
			}
		}
	}
	if !strings.Contains(allowed, "/dev/net/tun:rw") {
		t.Errorf("with drop-ins the service may not open TAP devices: %s\n%s", allowed, out)
	}
}
