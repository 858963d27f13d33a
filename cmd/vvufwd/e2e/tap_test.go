package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/vm"
)

// TestTAPGuest has vvufwd be the back-end of a guest on a host without a driver VM: its network card is a TAP device of a
// network namespace. Files pass both ways, in large segments that no one cuts.
func TestTAPGuest(t *testing.T) {
	l := newLab(t)
	f := &forwarder{counters: counters.NewFollower()}
	socket := l.socket("a")
	var err error
	f.Process, err = vm.Start(vm.Config{
		Name: "vvufwd", LogPath: filepath.Join(l.out, "vvufwd.log"), OnLine: f.counters.Feed,
		Argv: []string{"unshare", "--net", l.tools.Vvufwd, "--stats", "100ms", "--stats-json", "--log-level", "debug",
			"--vhost-user", socket, "--port", "tap:host0", "--queues", "1"},
	})
	l.must(err)
	l.atEnd(func() { f.Close() })
	l.expect(f, "forwarding")
	const host = "10.0.0.2"
	for _, words := range [][]string{{"address", "add", host + "/24", "dev", "host0"}, {"link", "set", "host0", "up"}} {
		out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(f.PID()), "-n", "ip"}, words...)...).CombinedOutput()
		if err != nil {
			l.Fatalf("ip %v: %v: %s", words, err, out)
		}
	}
	m := l.machine("a", 1, l.image(), socket)
	l.switchOn(m)
	l.must(l.ready(m))
	l.must(l.pingHost(m, host, 5))
	before := l.ports(f) // the host sends some frames before the guest is there

	var listener net.Listener
	l.must(inNetworkOf(f.PID(), func() (err error) {
		listener, err = net.Listen("tcp", host+":80")
		return err
	}))
	file := make([]byte, transferBytes)
	rand.NewChaCha8([32]byte{1}).Read(file)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(file) })}
	go server.Serve(listener)
	l.atEnd(func() { server.Close() })

	l.step("to the guest", func(l *lab) {
		got, err := m.app.Fetch(l.ctx, commandLimit, "http://"+host+"/file")
		l.must(err)
		if sum := sha256.Sum256(file); got.Bytes != transferBytes || got.SHA256 != hex.EncodeToString(sum[:]) {
			l.Errorf("the guest got %d bytes with SHA-256 %s, want %x", got.Bytes, got.SHA256, sum)
		}
	})
	l.step("from the guest", func(l *lab) {
		made, err := m.app.Blob(l.ctx, commandLimit, transferBytes)
		l.must(err)
		bytes, sum, err := fetchIn(l.ctx, f.PID(), "http://"+m.address+"/blob")
		l.must(err)
		if bytes != int64(made.Bytes) || sum != made.SHA256 {
			l.Errorf("the host got %d bytes with SHA-256 %s, the guest made %d with %s", bytes, sum, made.Bytes, made.SHA256)
		}
	})
	l.step("counters", func(l *lab) {
		for i, p := range l.ports(f) {
			if p.Dropped() != before[i].Dropped() {
				l.Errorf("frames were dropped: %+v, before %+v", p, before[i])
			}
			o := p.Offloads
			// Each way there is a file, and acknowledgements of the other one: without large segments frames have 1514 bytes at most.
			if o.Segmented != 0 || o.Checksummed != 0 || o.Passed == 0 || p.RxBytes < transferBytes || p.RxBytes/p.RxPackets <= 1514 {
				l.Errorf("large segments do not pass uncut: %+v", p)
			}
		}
	})
	l.must(l.powerOff(m))
	l.stop(f)
}

// inNetworkOf does something on a thread in the network namespace of a process. Sockets that are made there stay of it.
func inNetworkOf(pid int, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			if err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err == nil {
				err = do()
			}
			err = errors.Join(err, network.Close())
		}
		done <- err
	}()
	return <-done
}

// fetchIn fetches a file from there and returns its SHA-256.
func fetchIn(ctx context.Context, pid int, url string) (bytes int64, sum string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = inNetworkOf(pid, func() (err error) {
			var d net.Dialer
			c, err = d.DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	hash := sha256.New()
	bytes, err = io.Copy(hash, answer.Body)
	return bytes, hex.EncodeToString(hash.Sum(nil)), err
}
