package e2e

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"vvufwd/cmd/vvudemo/show"
)

// inNamespace is set for the test that runs in a network of its own.
const inNamespace = "VVUDEMO_E2E_NAMESPACE"

// TestLargeSegmentsPass boots both machines with a TAP device behind the NIC, which takes and gives what a NIC with offloads does:
// large segments pass as they are, both ways, and nothing is left for vvufwd to do. It needs a TAP device, so it calls itself in
// namespaces of its own, where it may make one whoever runs it.
func TestLargeSegmentsPass(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		passInNamespace(t)
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report := run(t, show.Config{TAP: "vvue2e0"})
	vvu, nic := report.Ports[0], report.Ports[1]
	for name, o := range map[string]struct {
		passed, done, packets, bytes uint64
	}{
		"from the app VM": {nic.Offloads.Passed, nic.Offloads.Checksummed + nic.Offloads.Segmented, nic.TxPackets, nic.TxBytes},
		"to the app VM":   {vvu.Offloads.Passed, vvu.Offloads.Checksummed + vvu.Offloads.Segmented, vvu.TxPackets, vvu.TxBytes},
	} {
		if o.passed == 0 || o.done != 0 {
			t.Errorf("%s %d frames with offloads passed, %d were finished on the way", name, o.passed, o.done)
		}
		const longest = 1514
		if o.bytes < 2*longest*o.packets {
			t.Errorf("%s came %d bytes in %d frames: no large segments", name, o.bytes, o.packets)
		}
	}
}

// passInNamespace runs this test again, as root of a new user namespace unless it is root already.
func passInNamespace(t *testing.T) {
	if tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skipf("the kernel has no TAP devices: %v", err)
	} else {
		tun.Close()
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=14m")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("in a network namespace: %v (making one takes root or unprivileged user namespaces)", err)
	}
}
