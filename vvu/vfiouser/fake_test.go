package vfiouser

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
)

// fakeDevice is a device with a trapped BAR 0, a BAR 2 that is half mapped, and
// configuration space. It writes down what happens to it.
type fakeDevice struct {
	mu     sync.Mutex
	events []string
	bar0   [4096]byte
	config *Config
	host   Host
	ramFD  int
}

const (
	fakeVectors = 20
	fakeRAM     = 1 << 20
	fakeBAR2    = 1 << 21
	fakeShift   = 1 << 20 // where the RAM starts in BAR 2
)

func newFakeDevice(t testing.TB) *fakeDevice {
	t.Helper()
	d := &fakeDevice{ramFD: memfd(t, fakeRAM), config: NewConfig(Identity{Vendor: 0x1af4, Device: 0x1058, Class: 0x00ff00, Revision: 1})}
	for i, b := range map[int]BAR{0: {Size: 4096}, 2: {Size: fakeBAR2, Wide: true, Prefetchable: true}} {
		if err := d.config.SetBAR(i, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.config.AddMSIX(MSIX{Vectors: fakeVectors, BAR: 1, PBAOffset: 0x800}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *fakeDevice) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, fmt.Sprintf(format, args...))
}

func (d *fakeDevice) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.events
	d.events = nil
	return e
}

func (d *fakeDevice) Region(index int) Region {
	switch index {
	case 0:
		return Region{Size: 4096}
	case 2:
		shift := uint64(fakeShift)
		return Region{Size: fakeBAR2, FD: d.ramFD, FileShift: -shift, Areas: []Area{{Offset: fakeShift, Size: fakeRAM}}}
	case RegionROM:
		return Region{Size: 512, ReadOnly: true}
	case RegionConfig:
		return Region{Size: ConfigSize}
	}
	return Region{}
}

func (d *fakeDevice) Vectors() int { return fakeVectors }

func (d *fakeDevice) Read(region int, offset uint64, p []byte) {
	switch region {
	case 0:
		copy(p, d.bar0[offset:])
	case RegionConfig:
		d.config.Read(offset, p)
	}
}

func (d *fakeDevice) Write(region int, offset uint64, p []byte) {
	d.note("write %d %#x %x", region, offset, p)
	switch region {
	case 0:
		copy(d.bar0[offset:], p)
	case RegionConfig:
		d.config.Write(offset, p)
	}
}

func (d *fakeDevice) Reset()         { d.note("reset") }
func (d *fakeDevice) Attach(h Host)  { d.host = h; d.note("attach") }
func (d *fakeDevice) Detach()        { d.note("detach") }
func (d *fakeDevice) MemoryChanged() { d.note("memory") }

func memfd(t testing.TB, size int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	return fd
}

func eventfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// signalled reads an eventfd: how often it was signalled since the last look.
func signalled(fd int) int {
	var b [8]byte
	if n, err := unix.Read(fd, b[:]); n != 8 || err != nil {
		return 0
	}
	return int(b[0])
}

// serve runs a server for dev and returns its socket.
func serve(t testing.TB, dev Device) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	server := NewServer(dev, zaptest.NewLogger(t))
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server ended with %v", err)
		}
	})
	return path
}

// openFDs counts the descriptors of the process.
func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// eventually waits for cond, which another goroutine makes true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 5 s", what)
		}
	}
}
