package speed

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
)

const (
	bootLimit    = 2 * time.Minute
	commandLimit = time.Minute
)

// side is a guest in front of a TAP device of this network namespace, whose address is the host's.
type side struct {
	name      string
	app       *guest.App
	processes []*vm.Process // whose CPU time counts
	listener  *net.TCPListener
}

// findTools finds what is needed, which is unpacked first if it is not there: inside a namespace nothing can be fetched.
func findTools(t testing.TB) *tools.Tools {
	t.Helper()
	source := tools.SourceDir()
	if source == "" {
		t.Fatal("the benchmark does not run in the source tree")
	}
	found, err := tools.Find(t.Context(), tools.Options{
		BuildDir: filepath.Join(source, "build"), SourceDir: source, NeedVfioUser: true, NeedPrograms: true,
		Progress: func(text string) { t.Log(text) },
	})
	must(t, err)
	return found
}

// image writes the guests' RAM disk, in which this program is.
func image(t testing.TB, found *tools.Tools, dir string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(dir, "guest.cpio.gz")
	_, err = initramfs.App{Busybox: found.Busybox, Modules: found.Modules, Files: map[string]string{"bin/" + streamProgram: self}}.Save(path)
	must(t, err)
	return path
}

// newSides boots a guest behind vvufwd and one behind QEMU's own TAP device.
func newSides(t testing.TB, found *tools.Tools, dir string) (sides [2]*side) {
	t.Helper()
	socket := filepath.Join(dir, "app")
	argv := []string{found.Vvufwd, "--vhost-user", socket, "--port", "tap:ours", "--queues", "1"}
	forwarder := start(t, dir, "vvufwd", append(argv, strings.Fields(*more)...)...)
	_, _, err := forwarder.Expect(t.Context(), 0, commandLimit, "vvufwd to serve", vm.Containing("waiting for a front-end"))
	must(t, err)
	boot := machine.Boot{QEMU: found.AppQEMU, Kernel: found.Kernel, Initrd: image(t, found, dir), Accel: "tcg", SMP: 1, MemoryMiB: 256}
	ours, qemus := machine.App{Boot: boot, Socket: socket}, machine.App{Boot: boot, Direct: &machine.Backend{TAP: "qemus"}}
	for i, s := range []struct {
		name, tap string
		app       machine.App
		also      []*vm.Process
	}{{"vvufwd", "ours", ours, []*vm.Process{forwarder}}, {"QEMU", "qemus", qemus, nil}} {
		s.app.KernelArgs = []string{"ipv6.disable=1"}
		q := start(t, dir, "guest of "+s.name, s.app.Argv()...)
		sides[i] = &side{name: s.name, processes: append(s.also, q)}
		app, _, err := guest.WaitReady(t.Context(), q, bootLimit)
		must(t, err)
		sides[i].app = app
		host := net.IPv4(10, 0, byte(1+i), 1)
		ip(t, "address", "add", host.String()+"/24", "dev", s.tap)
		ip(t, "link", "set", s.tap, "up")
		must(t, app.Address(t.Context(), commandLimit, fmt.Sprintf("10.0.%d.2/24", 1+i)))
		sides[i].listener, err = net.ListenTCP("tcp", &net.TCPAddr{IP: host})
		must(t, err)
		t.Cleanup(func() { sides[i].listener.Close() })
	}
	return sides
}

// start starts a program, which ends with the benchmark.
func start(t testing.TB, dir, name string, argv ...string) *vm.Process {
	t.Helper()
	p, err := vm.Start(vm.Config{Name: name, Argv: argv, LogPath: filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".log")})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// move moves bytes to the guest or from it, and returns how long that took.
func (s *side) move(ctx context.Context, bytes int64, toGuest bool) (time.Duration, error) {
	type end struct {
		took time.Duration
		err  error
	}
	done := make(chan end, 1)
	go func() {
		took, err := serve(s.listener, bytes, toGuest)
		done <- end{took, err}
	}()
	at := s.listener.Addr().(*net.TCPAddr)
	sent := bytes
	if toGuest {
		sent = 0
	}
	moved, err := s.app.Stream(ctx, 2*patience, at.IP.String(), at.Port, sent)
	host := <-done
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", s.name, err)
	case host.err != nil:
		return 0, fmt.Errorf("%s: the host's end: %w", s.name, host.err)
	case moved != bytes:
		return 0, fmt.Errorf("%s: the guest has moved %d bytes, want %d", s.name, moved, bytes)
	}
	return host.took, nil
}

func ip(t testing.TB, words ...string) {
	t.Helper()
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
