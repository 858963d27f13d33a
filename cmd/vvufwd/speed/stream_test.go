package speed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// streamProgram is what this program is called in guests, where it sends and receives.
const streamProgram = "stream"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != streamProgram {
		os.Exit(m.Run())
	}
	n, err := stream(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n)
}

// patience is how long a connection may bring nothing.
const patience = time.Minute

// buffer is how much is written or read at once: little of the time goes into system calls.
const buffer = 256 << 10

// stream is the guest's end of a connection: HOST PORT BYTES. It sends so many bytes or, if that is 0, takes what comes until the end. It
// returns how many there were.
func stream(args []string) (n int64, err error) {
	if len(args) != 3 {
		return 0, fmt.Errorf("%q: want HOST PORT BYTES", args)
	}
	bytes, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return 0, err
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(args[0], args[1]), patience)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if bytes > 0 {
		return bytes, send(c.(*net.TCPConn), bytes)
	}
	return drain(c)
}

// send sends zeros, and returns when the other end has taken all and closed.
func send(c *net.TCPConn, bytes int64) error {
	zeros := make([]byte, buffer)
	for left := bytes; left > 0; {
		n, err := c.Write(zeros[:min(left, buffer)])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := drain(c); n != 0 || err != nil {
		return fmt.Errorf("%d bytes came where none should, %w", n, err)
	}
	return nil
}

// drain takes all that comes.
func drain(c io.Reader) (n int64, err error) {
	room := make([]byte, buffer)
	for {
		got, err := c.Read(room)
		n += int64(got)
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// serve is the host's end: it takes a connection, moves so many bytes, and returns how long that took.
func serve(l *net.TCPListener, bytes int64, toGuest bool) (time.Duration, error) {
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	c, err := l.AcceptTCP()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	begin := time.Now()
	if toGuest {
		err = send(c, bytes)
		return time.Since(begin), err
	}
	n, err := drain(c)
	if err == nil && n != bytes {
		err = fmt.Errorf("%d bytes came, want %d", n, bytes)
	}
	return time.Since(begin), err
}

// Both ends move what they are told, both ways, and tell when it is less.
func TestStream(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const bytes = 3<<20 + 1
	for _, tt := range []struct {
		name       string
		toGuest    bool
		sent, want int64
		fails      bool
	}{{"to the guest", true, 0, bytes, false}, {"from the guest", false, bytes, bytes, false}, {"too little", false, bytes - 1, bytes - 1, true}} {
		got := make(chan error, 1)
		go func() {
			n, err := stream([]string{"127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port), strconv.FormatInt(tt.sent, 10)})
			if err == nil && n != tt.want {
				err = fmt.Errorf("%d bytes, want %d", n, tt.want)
			}
			got <- err
		}()
		took, err := serve(l, bytes, tt.toGuest)
		if (err != nil) != tt.fails || took <= 0 {
			t.Errorf("%s: %v, %v", tt.name, took, err)
		}
		if err := <-got; err != nil {
			t.Errorf("%s: the guest's end: %v", tt.name, err)
		}
	}
}
