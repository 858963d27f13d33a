package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// stream is a file that is served at a walking pace, and ends when it is told to.
type stream struct {
	sent atomic.Int64
	end  chan struct{}
	sum  chan string // of what was sent, once
}

// serveStream serves a stream to guests behind QEMU's user networking, and returns its address.
func (l *lab) serveStream() (s *stream, url string) {
	l.Helper()
	s = &stream{end: make(chan struct{}), sum: make(chan string, 1)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	l.must(err)
	server := &http.Server{Handler: s}
	go server.Serve(listener)
	l.atEnd(func() { server.Close() })
	return s, fmt.Sprintf("http://%s:%d/stream", userHost, listener.Addr().(*net.TCPAddr).Port)
}

// ServeHTTP sends blocks of which no two are the same.
func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	for block := make([]byte, 64<<10); r.Context().Err() == nil; time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.end:
			s.sum <- hex.EncodeToString(sum.Sum(nil))
			return
		default:
		}
		at := s.sent.Load()
		for i := range block {
			block[i] = byte(at>>16) + byte(i*i)
		}
		sum.Write(block)
		if _, err := w.Write(block); err != nil {
			return
		}
		s.sent.Add(int64(len(block)))
	}
}

// resetNIC resets a NIC behind the back of a running vvufwd, ten times while a file passes through it: it is
// restarted each time, and the file is whole.
func (l *lab) resetNIC(driver *driverShell, app *virtualMachine) {
	l.Helper()
	const times, between = 10, 256 << 10
	s, url := l.serveStream()
	l.must(app.app.BeginFetch(l.ctx, commandLimit, url))
	moves := func() {
		l.Helper()
		from := s.sent.Load()
		l.eventually(func() error {
			if moved := s.sent.Load() - from; moved < between {
				return fmt.Errorf("%d bytes of the file passed in all this time", moved)
			}
			return nil
		})
	}
	if *unplugModel == "e1000e" { // of which QEMU resets nothing when it is put to sleep, which is how Linux would do it
		driver.do(l, "echo bus > /sys/bus/pci/devices/"+unplugNIC+"/reset_method")
	}
	for range times {
		moves()
		begin := driver.Mark()
		driver.do(l, "echo 1 > /sys/bus/pci/devices/"+unplugNIC+"/reset")
		driver.mark = begin
		driver.see(l, "the NIC has failed", unplugNIC)
		driver.see(l, "the NIC works again", unplugNIC)
	}
	moves()
	close(s.end)
	got, err := app.app.EndFetch(l.ctx, commandLimit)
	l.must(err)
	if sent := <-s.sum; got.SHA256 != sent || got.Bytes != s.sent.Load() {
		l.Errorf("%d bytes were sent with SHA-256 %s, and %d arrived with %s", s.sent.Load(), sent, got.Bytes, got.SHA256)
	}
	for _, line := range driver.Tail(4000) {
		if vm.Containing("has failed", machine.NICAddress)(line) {
			l.Errorf("the other NIC failed too: %q", line)
		}
	}
}
