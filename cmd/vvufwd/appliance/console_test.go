package appliance

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a new pseudo-terminal: what a person types into the first
// comes out of the second, and back.
func openPTY(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(number)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

// noting tells of each read that begins: what was read before has been dealt with.
type noting struct {
	io.Reader
	begun chan struct{}
}

func newNoting(r io.Reader) *noting { return &noting{r, make(chan struct{}, 100)} }

func (n *noting) Read(b []byte) (int, error) {
	n.begun <- struct{}{}
	return n.Reader.Read(b)
}

func (n *noting) await(t *testing.T) {
	t.Helper()
	select {
	case <-n.begun:
	case <-time.After(10 * time.Second):
		t.Fatal("no one reads")
	}
}

func TestEnterOnATerminal(t *testing.T) {
	person, terminal := openPTY(t)
	if !isTerminal(terminal) {
		t.Fatal("a pseudo-terminal is not taken for a terminal")
	}
	reader := newNoting(terminal)
	enter := watchEnter(reader)
	reader.await(t)
	if _, err := io.WriteString(person, "q\x04"); err != nil { // text and Ctrl-D: a line without its end
		t.Fatal(err)
	}
	reader.await(t)
	select {
	case <-enter:
		t.Fatal("text without Enter counts as Enter")
	default:
	}
	if _, err := io.WriteString(person, "\r"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-enter:
	case <-time.After(10 * time.Second):
		t.Fatal("Enter was not seen")
	}
	drain(terminal, 10*time.Second) // has little to do, and must come back
}

// TestEndOfFileIsNotTheEnd types Ctrl-D on an empty line, which reads as an end of file,
// and then Enter.
func TestEndOfFileIsNotTheEnd(t *testing.T) {
	person, terminal := openPTY(t)
	reader := newNoting(terminal)
	enter := watchEnter(reader)
	reader.await(t)
	if _, err := io.WriteString(person, "\x04"); err != nil {
		t.Fatal(err)
	}
	reader.await(t)
	if _, err := io.WriteString(person, "\r"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-enter:
	case <-time.After(10 * time.Second):
		t.Fatal("Enter after Ctrl-D was not seen")
	}
}

func TestLeadsNowhere(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Error("/dev/null is taken for a terminal")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	for _, test := range []struct {
		name string
		fd   int
		want bool
	}{
		{"/dev/null", int(null.Fd()), true},
		{"a closed descriptor", 1 << 20, true},
		{"a pipe", int(w.Fd()), false},
		{"another device", int(zero.Fd()), false},
	} {
		if got := leadsNowhere(test.fd); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
