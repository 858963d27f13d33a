// Package namespace runs this program again in a network of its own, where it may make network devices whoever runs it.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// marker is set in the environment of the program that runs inside.
const marker = "VVUDEMO_NAMESPACE"

// Inside reports whether this program was started by Command.
func Inside() bool { return os.Getenv(marker) != "" }

// Command is this program with other arguments, as root of a new network namespace and, unless it is root already, of a new user
// namespace. The network has nothing in it but a loopback device, which is down. The command is killed with this program.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	if _, err := os.Stat("/dev/net/tun"); errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("the kernel has no TAP devices: there is no /dev/net/tun")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd, nil
}

// Run starts a command of Command and waits for its end. If the kernel refuses, the error says what it takes.
func Run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in a network namespace: %w (it takes root or unprivileged user namespaces)", err)
	}
	return cmd.Wait()
}

// Settle switches the loopback device on. Whoever runs inside calls it first.
func Settle() error {
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
