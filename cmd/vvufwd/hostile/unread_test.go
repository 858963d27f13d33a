package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unread is a vvufwd whose outputs no one reads, full from the start.
type unread struct {
	*forwarder
	outputs [2]*os.File // standard output, standard error: our ends
}

// startUnread starts it with so many ports, paired in order. It must have stopped by the
// end of the test.
func startUnread(t *testing.T, ports int) *unread {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	u := &unread{forwarder: &forwarder{exited: make(chan struct{})}}
	// Debug, so that there is no sampling and each message is a line.
	args := []string{"--log-format=json", "--log-level=debug", "--stats=5ms", "--stats-json", "--idle-after=200us", "--cpus=0"}
	for i := range ports {
		u.sockets = append(u.sockets, filepath.Join(dir, fmt.Sprint(i, ".sock")))
		args = append(args, "--vhost-user="+u.sockets[i])
	}
	u.cmd = exec.Command(programs.vvufwd, args...)
	theirs := [2]*os.File{}
	for i := range theirs {
		if u.outputs[i], theirs[i], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		defer theirs[i].Close()
		t.Cleanup(func() { u.outputs[i].Close() })
		stuff(t, theirs[i])
	}
	u.cmd.Stdout, u.cmd.Stderr = theirs[0], theirs[1]
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		u.status = u.cmd.Wait()
		close(u.exited)
	}()
	t.Cleanup(func() {
		u.cmd.Process.Kill()
		<-u.exited
	})
	for _, s := range u.sockets {
		eventually(t, "vvufwd listens at "+s, func() bool {
			_, err := os.Stat(s)
			return err == nil
		})
	}
	return u
}

// stuffing is what fills a pipe before vvufwd has its turn.
const stuffing = "#\n"

// stuff fills a pipe and leaves it as it is for a process: blocking.
func stuff(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte(stuffing), 2048)
	for len(block) > 0 {
		if _, err := unix.Write(fd, block); err == unix.EAGAIN {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// read reads an output from now on, without what it was stuffed with.
func (u *unread) read(output int) *collected {
	c := &collected{}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := u.outputs[output].Read(buf)
			c.mu.Lock()
			c.text.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

// collected is what was read so far.
type collected struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// lines are the whole lines among it, as the JSON that they are.
func (c *collected) lines(t *testing.T) (all []map[string]any) {
	t.Helper()
	c.mu.Lock()
	text := c.text.String()
	c.mu.Unlock()
	for line := range strings.Lines(text) {
		if line == stuffing || !strings.HasSuffix(line, "\n") {
			continue
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("vvufwd wrote %q: %v", line, err)
		}
		all = append(all, object)
	}
	return all
}

// find returns the first line whose message contains text.
func (c *collected) find(t *testing.T, text string) map[string]any {
	t.Helper()
	for _, line := range c.lines(t) {
		if msg, _ := line["msg"].(string); strings.Contains(msg, text) {
			return line
		}
	}
	return nil
}

// spoilRing makes a ring fail with a descriptor that is none.
func spoilRing(g *guest) {
	r := g.rings[transmitRing]
	r.offer(ringEntries + 7)
	g.kick(transmitRing)
}

// No one reads what vvufwd has to say, and both its outputs are full. One loop forwards
// for both pairs. A front-end breaks its rings again and again, each time with a line
// for the log: the other pair must not notice, messages must be answered, and rings be
// stopped. When someone reads again, he is told what he missed.
func TestNoOneReadsTheLog(t *testing.T) {
	u := startUnread(t, 4)
	a, b := join(t, u.sockets[2]), join(t, u.sockets[3])
	defer a.leave()
	defer b.leave()
	exchange(t, a, b)
	hostile := join(t, u.sockets[0])
	defer hostile.leave()
	// More than queues and pipes hold of debug lines: some 8 for each round.
	const rounds = 500
	slowest := time.Duration(0)
	for i := range rounds {
		spoilRing(hostile)
		if i%50 == 0 {
			exchange(t, a, b)
		}
		begin := time.Now()
		if err := hostile.restart(transmitRing, false); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	t.Logf("to stop and start a ring took %v at most", slowest)
	for i := range a.rings { // and rings of the other pair can be stopped
		if _, err := a.stop(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range a.rings {
		if err := a.restart(i, true); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, a, b)

	log, stats := u.read(1), u.read(0)
	eventually(t, "the log tells of lines that are missing", func() bool {
		line := log.find(t, "lines of this log were dropped")
		lines, _ := line["lines"].(float64)
		return lines > 0
	})
	eventually(t, "statistics come again", func() bool { return len(stats.lines(t)) > 0 })
	exchange(t, a, b)
	if !u.end(unix.SIGTERM) {
		t.Fatal("vvufwd did not stop")
	}
	if u.status != nil {
		t.Errorf("vvufwd ended with %v", u.status)
	}
}

// Its last words are no reason to stay: vvufwd ends in good time though no one reads them.
func TestNoOneReadsTheLastWords(t *testing.T) {
	u := startUnread(t, 2)
	a, b := join(t, u.sockets[0]), join(t, u.sockets[1])
	defer a.leave()
	defer b.leave()
	exchange(t, a, b)
	if !u.end(unix.SIGTERM) {
		t.Fatal("vvufwd does not stop while no one reads its outputs")
	}
	if u.status != nil {
		t.Errorf("vvufwd ended with %v", u.status)
	}
}

// Whoever read the outputs is gone.
func TestOutputsAreClosed(t *testing.T) {
	u := startUnread(t, 2)
	for _, o := range u.outputs {
		o.Close()
	}
	a, b := join(t, u.sockets[0]), join(t, u.sockets[1])
	defer a.leave()
	defer b.leave()
	for range 20 {
		spoilRing(a)
		if err := a.restart(transmitRing, false); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, a, b)
	u.alive(t)
	if !u.end(unix.SIGTERM) {
		t.Fatal("vvufwd did not stop")
	}
	if u.status != nil {
		t.Errorf("vvufwd ended with %v", u.status)
	}
}

// What goes wrong at the start is said, if there is someone to read it.
func TestUsageErrorsAreRead(t *testing.T) {
	cmd := exec.Command(programs.vvufwd, "--no-such-flag")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(stderr)
	if err != nil {
		t.Error(err)
	}
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), "no-such-flag") {
		t.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), text)
	}
}
