package capture

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/cli"
)

// Spec is a capture as the command line says it: PORT=FILE[,snaplen=N][,off][,filter=EXPRESSION], where FILE can also be where it is
// to be read live.
type Spec struct {
	Port    string          // its name, as the port says it
	Path    string          // of a file, or where it is read live
	Live    channel.Address // where it is read live; the zero value: it is a file
	SnapLen int
	Off     bool // it waits for SIGUSR1
	Filter  *Filter
}

// Bounds of the bytes of a frame that are kept.
const (
	minSnapLen = 14
	// MaxSnapLen is more than any frame has, large segments included.
	MaxSnapLen = 65536 + 256
)

// Names are all by which a capture knows a port: its name, that without the kind of port, and as it was written.
func Names(port, written string) []string {
	_, short, _ := strings.Cut(port, ":")
	return []string{port, short, written}
}

// Parse reads a capture of one of the named ports, each of which may have been written in another way, too.
func Parse(text string, ports, written []string) (Spec, error) {
	s := Spec{SnapLen: MaxSnapLen}
	rest := ""
	for i, name := range ports {
		for _, n := range Names(name, written[i]) {
			if r, ok := strings.CutPrefix(text, n+"="); ok && n != "" {
				s.Port, rest = name, r
			}
		}
	}
	if s.Port == "" {
		return s, fmt.Errorf("want PORT=FILE, where PORT is one of %s", strings.Join(ports, ", "))
	}
	s.Path, rest, _ = strings.Cut(rest, ",")
	if s.Path == "" {
		return s, errors.New("want a FILE after the port, such as /tmp/frames.pcapng, or virtio-serial:NAME, vsock:PORT or unix:PATH")
	}
	if s.Path == "-" {
		return s, errors.New("standard output is for statistics: give a named pipe, which tcpdump -r reads, or unix:PATH")
	}
	if channel.IsPlace(s.Path) {
		var err error
		if s.Live, err = channel.Parse(s.Path); err != nil {
			return s, err
		}
		s.Path = s.Live.String()
	}
	for rest != "" {
		if expression, ok := strings.CutPrefix(rest, "filter="); ok { // which may have commas in it
			var err error
			if s.Filter, err = ParseFilter(expression); err != nil && strings.Contains(expression, ",") {
				err = fmt.Errorf("%w (filter= is the last option)", err)
			}
			return s, err
		}
		var option string
		option, rest, _ = strings.Cut(rest, ",")
		n, isSnapLen := strings.CutPrefix(option, "snaplen=")
		switch {
		case isSnapLen:
			var err error
			if s.SnapLen, err = strconv.Atoi(n); err != nil || s.SnapLen < minSnapLen || s.SnapLen > MaxSnapLen {
				return s, fmt.Errorf("snaplen=%s: want %d to %d bytes", n, minSnapLen, MaxSnapLen)
			}
		case option == "off":
			s.Off = true
		default:
			return s, fmt.Errorf("%q: want snaplen=N, off, or at the end filter=EXPRESSION", option)
		}
	}
	return s, nil
}

// filtered is how many bytes of a frame a filter may look at.
const filtered = 256

// copied is how many bytes of a frame have to be copied.
func (s Spec) copied() int {
	if s.Filter != nil {
		return max(s.SnapLen, filtered)
	}
	return s.SnapLen
}

// Open opens the file: a new or emptied one for its owner alone, or a device or a named pipe, which must have a reader already;
// or where it is read live, a virtio-serial port or the socket of a listener. It does not block. Errors do not name the file, which
// the caller knows.
func (s Spec) Open() (*os.File, error) {
	switch s.Live.Kind {
	case channel.Serial:
		return s.Live.OpenSerial()
	case channel.UNIX, channel.VSock:
		l, err := s.Live.Listen()
		if err != nil {
			return nil, err
		}
		return l.File(), nil
	}
	f, err := os.OpenFile(s.Path, os.O_WRONLY|os.O_CREATE|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0o600)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return nil, errors.New("it is a pipe that no one reads, or a device that is not there: start its reader first")
	case errors.Is(err, syscall.ELOOP):
		return nil, errors.New("it is a symbolic link: name the file itself")
	case err != nil:
		return nil, cli.Unnamed(err)
	}
	if err := takeFile(f); err != nil {
		return nil, errors.Join(cli.Unnamed(err), f.Close())
	}
	return f, nil
}

// takeFile empties a file, unless another capture writes there: one of another vvufwd, or of this one that calls the file by another
// name. The lock lasts as long as the file is open. A file system that knows no locks is taken at the user's word.
func takeFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	taken := error(nil)
	if err := raw.Control(func(fd uintptr) { taken = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(taken, unix.EWOULDBLOCK) {
		return errors.New("another capture writes to it: give each a file of its own")
	}
	return f.Truncate(0)
}

// Close closes what Open has opened and no recorder has taken.
func (s Spec) Close(f *os.File) error {
	if s.listens() {
		return channel.Inherit(f, s.Live).Close()
	}
	return f.Close()
}

func (s Spec) listens() bool { return s.Live.Kind == channel.UNIX || s.Live.Kind == channel.VSock }
