package channel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// portsClass is where sysfs knows the names of virtio-serial ports; a machine without udev, as that of which vvufwd is /init, has
// no links with these names in /dev.
var portsClass = "/sys/class/virtio-ports"

// appears is how long a port may take to appear once its driver is loaded.
const appears = 2 * time.Second

// ErrNotSerial is why what is no virtio-serial port is not opened as one.
var ErrNotSerial = errors.New("not a virtio-serial port")

// OpenSerial opens a virtio-serial port, for reading and writing without waiting. It may be opened once only, the kernel says.
// Errors do not name the port, which the caller knows.
func (a Address) OpenSerial() (*os.File, error) {
	if a.Kind != Serial {
		return nil, ErrNotSerial
	}
	device, err := findSerial(a.Name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, errors.New("the port is in use by another process, or for another flag: give each a port of its own")
	}
	return f, err
}

// findSerial finds the device of a virtio-serial port.
func findSerial(name string) (string, error) {
	for deadline := time.Now().Add(appears); ; time.Sleep(20 * time.Millisecond) {
		names, _ := filepath.Glob(portsClass + "/*/name") // the pattern is good
		var found []string
		for _, file := range names {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // gone
			}
			if n := strings.TrimSpace(string(text)); n == name {
				return "/dev/" + filepath.Base(filepath.Dir(file)), nil
			} else if n != "" {
				found = append(found, n)
			}
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("there is no virtio-serial port of that name (there are %q): give the machine one (QEMU: -device virtio-serial-pci -device virtserialport,name=%s,chardev=…), and load its driver (--modules virtio_pci,virtio_console)", found, name)
		}
	}
}

// SerialReader reads from a virtio-serial port. The kernel says "end of file" as long as the host has not opened its end; the
// reader returns io.EOF once each time that the host has left, and otherwise waits for it to send something.
type SerialReader struct {
	raw    rawReader
	absent bool // the host is not there, and that was told
}

type rawReader interface {
	Read(func(fd uintptr) (done bool)) error
}

// NewSerialReader makes a reader. The host need not be there yet.
func NewSerialReader(f *os.File) (*SerialReader, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &SerialReader{raw: raw, absent: true}, nil
}

// Read implements io.Reader.
func (r *SerialReader) Read(p []byte) (n int, err error) {
	woken := false
	failure := r.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Read(int(fd), p); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		// The run-time's poller tells of changes, not of states: whoever waits is woken when data come and when the host leaves, and
		// not before, though the port is at its end all the time.
		again := errors.Is(err, unix.EAGAIN) || err == nil && n == 0 && r.absent && !woken
		woken = true
		if errors.Is(err, unix.EAGAIN) {
			r.absent = false
		}
		return !again
	})
	switch {
	case failure != nil:
		return 0, failure
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: "virtio-serial port", Err: err}
	case n == 0:
		r.absent = true
		return 0, io.EOF
	}
	r.absent = false
	return n, nil
}
