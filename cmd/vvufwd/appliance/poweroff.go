package appliance

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// power is how a machine ends. Tests put their own functions here.
type power struct {
	killAll  func()                           // every process but this one
	readOnly func()                           // make the root file system so
	sync     func()                           // write back what is dirty
	drain    func()                           // let the console finish, but not for long
	reboot   func(command int) error          // does not return if it works
	forever  func()                           // does not return
	printf   func(format string, args ...any) // the console
}

// thisPower ends the machine that we run on. Only PID 1 may use it. Writing to out must
// not wait for anyone.
func thisPower(out io.Writer, drainOut func()) power {
	return power{
		killAll:  func() { _ = unix.Kill(-1, unix.SIGKILL) },
		readOnly: func() { _ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "") },
		sync:     unix.Sync,
		drain:    drainOut,
		reboot:   unix.Reboot,
		forever: func() {
			for {
				time.Sleep(time.Hour)
			}
		},
		printf: func(format string, args ...any) { fmt.Fprintf(out, format, args...) },
	}
}

// off powers the machine off and does not return. The last line on the console is
// the exit code. Where there is no power to switch off the machine is restarted, and
// where that fails too PID 1 just stays, because the kernel panics without it.
func (p power) off(code int) {
	p.killAll()
	p.sync()
	p.readOnly() // a disk, if there is one, is then clean
	p.printf("vvufwd: exit code %d\n", code)
	p.drain()
	err := p.reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	p.printf("vvufwd: power off: %v; restarting\n", err)
	p.drain()
	err = p.reboot(unix.LINUX_REBOOT_CMD_RESTART)
	p.printf("vvufwd: restart: %v; the machine can be switched off now\n", err)
	p.forever()
}
