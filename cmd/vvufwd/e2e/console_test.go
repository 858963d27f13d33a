package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// serialLine is a driver VM's console, of which the test decides when it is read.
type serialLine struct {
	conn  *net.UnixConn
	lines *bufio.Reader
}

// TestNoOneReadsTheDriverVMsConsole leaves a driver VM alone with a full console, on which vvufwd has a lot to say, and resets the
// app VM meanwhile: its QEMU, whose main loop waits for vvufwd to stop each ring, must not notice. When someone reads the console
// again, it tells what is missing. In the end the driver VM is told to stop, and must power off without anyone who reads that.
func TestNoOneReadsTheDriverVMsConsole(t *testing.T) {
	l := newLab(t)
	driverImage := filepath.Join(l.out, "driver.cpio.gz")
	_, err := initramfs.Driver{Init: l.tools.Vvufwd, Modules: l.tools.Modules}.Save(driverImage)
	l.must(err)
	app := l.machine("a", 1, l.image(), l.socket("app"))
	app.QMP, app.RAMFile = l.socket("qmp"), l.ramFile(app.MemoryMiB)
	l.device(app.RAMFile, l.socket("vvu"), app.Socket)

	driver := machine.Driver{
		Boot:    machine.Boot{QEMU: l.tools.QEMU, Kernel: l.tools.Kernel, Initrd: driverImage, Accel: "tcg", SMP: 2, MemoryMiB: 256},
		Sockets: []string{l.socket("vvu")},
		InitArgs: []string{
			"--vvu", machine.VVUAddress(0), "--nic", machine.NICAddress, "--log-level", "debug", "--stats", "2ms", "--stats-json",
		},
	}
	argv := driver.Argv()
	console := l.socket("console")
	argv[slices.Index(argv, "-serial")+1] = "chardev:console"
	argv = append(argv, "-chardev", fmt.Sprintf("socket,id=console,path=%s,server=on,wait=on", console))

	var process *vm.Process
	var serial *serialLine
	l.step("boot the driver VM", func(l *lab) {
		process, err = vm.Start(vm.Config{Name: "driver VM", Argv: argv, LogPath: filepath.Join(l.out, "driver.log")})
		l.must(err)
		l.atEnd(func() { process.Close() })
		serial = l.connect(console)
		l.awaitLine(serial, "forwarding")
	})
	l.step("no one reads the console", func(l *lab) { l.stuck(serial) })
	l.step("boot the app VM", func(l *lab) {
		l.reboots(app)
		l.must(l.ready(app))
	})
	l.step("reset the app VM", func(l *lab) {
		for range 2 {
			mark := app.process.Mark()
			q, execute := l.control(app)
			execute("system_reset", nil)
			l.must(q.Close())
			l.awake(app, 2*time.Second)
			_, _, err := app.process.Expect(l.ctx, mark, bootLimit, "word that the app VM has booted again", vm.Containing("ready"))
			l.must(err)
		}
	})
	l.step("more is said than anyone keeps", func(l *lab) {
		// vvufwd keeps 256 KiB for the console, PID 1 as much, and statistics, a KiB or two, come every few milliseconds.
		for end := time.Now().Add(9 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			l.awake(app, 2*time.Second)
		}
	})
	l.step("the console is read again", func(l *lab) {
		line := l.awaitLine(serial, "lines were dropped here")
		l.Log(strings.TrimSpace(line))
	})
	l.step("power off while no one reads it", func(l *lab) {
		l.stuck(serial)
		_, err := serial.conn.Write([]byte("\r"))
		l.must(err)
		l.must(process.WaitExit(l.ctx, bootLimit))
	})
}

// ramFile makes the file that is an app VM's RAM, which has no name, and returns where others can open it.
func (l *lab) ramFile(mebibytes int) string {
	l.Helper()
	fd, err := unix.MemfdCreate("app-vm-ram", unix.MFD_CLOEXEC)
	l.must(err)
	l.atEnd(func() { unix.Close(fd) })
	l.must(unix.Ftruncate(fd, int64(mebibytes)<<20))
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
}

// device starts a vvudev and waits until it listens.
func (l *lab) device(ram, vfioUser, vhostUser string) (p *vm.Process) {
	l.Helper()
	p, err := vm.Start(vm.Config{
		Name: "vvudev", LogPath: filepath.Join(l.out, filepath.Base(vfioUser)+".log"),
		Argv: []string{l.tools.Vvudev, "--vfio-user", vfioUser, "--vhost-user", vhostUser, "--ram", ram},
	})
	l.must(err)
	l.atEnd(func() { p.Close() })
	_, _, err = p.Expect(l.ctx, 0, commandLimit, "word that vvudev is ready", vm.Containing("ready"))
	l.must(err)
	return p
}

// reboots starts an app VM that boots again when it is reset, instead of ending.
func (l *lab) reboots(m *virtualMachine) {
	l.Helper()
	argv := slices.DeleteFunc(m.Argv(), func(arg string) bool { return arg == "-no-reboot" })
	var err error
	m.process, err = vm.Start(vm.Config{Name: "guest " + m.name, Argv: argv, LogPath: filepath.Join(l.out, "guest-"+m.name+".log")})
	l.must(err)
	l.atEnd(func() { m.process.Close() })
}

// connect connects to the socket of a console, for which QEMU waits.
func (l *lab) connect(path string) *serialLine {
	l.Helper()
	var conn *net.UnixConn
	l.eventually(func() (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	l.atEnd(func() { conn.Close() })
	return &serialLine{conn: conn, lines: bufio.NewReader(conn)}
}

// awaitLine reads lines up to one with some words.
func (l *lab) awaitLine(s *serialLine, words string) string {
	l.Helper()
	l.must(s.conn.SetReadDeadline(time.Now().Add(bootLimit)))
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			l.Fatalf("the console says nothing of %q: %v", words, err)
		}
		if strings.Contains(line, words) {
			return line
		}
	}
}

// stuck waits, while no one reads, until nothing more comes, because there is no room for it anywhere.
func (l *lab) stuck(s *serialLine) {
	l.Helper()
	raw, err := s.conn.SyscallConn()
	l.must(err)
	waiting := func() (n int) {
		l.must(raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }))
		l.must(err)
		return n
	}
	last, since := -1, time.Now()
	l.eventually(func() error {
		if n := waiting(); n != last {
			last, since = n, time.Now()
		}
		if last == 0 || time.Since(since) < 2*time.Second { // at 2 ms for each record
			return errors.New("the console is read by someone else")
		}
		return nil
	})
	l.Logf("the console holds %d bytes", last)
}
