package hostile

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// TestCaptured has a confined vvufwd write what passes two of its ports. Every frame is in the file of the first, none in that of the
// second until a signal starts it, and what is sent after the other signal in neither.
func TestCaptured(t *testing.T) {
	path := shortPaths(t)
	c := startCapturing(t, path, "--capture="+path("a")+"="+path("a.pcapng")+",snaplen=60",
		"--capture=vhost-user:"+path("b")+"="+path("b.pcapng")+",off,filter=udp and not port 1")
	send := func(frames string) {
		t.Helper()
		c.send(t.Context(), "--rate=5000", "--count="+frames, "--size=100")
	}
	send("500")
	c.signal(unix.SIGUSR1)
	c.said("the capture is on", 2)
	send("300")
	c.signal(unix.SIGUSR2)
	c.said("the capture is off", 2)
	send("700")
	c.end(unix.SIGTERM)
	const probes = 100 // of the generator, at most, before it counts
	for file, want := range map[string]struct{ frames, bytes int }{"a.pcapng": {1600, 60}, "b.pcapng": {600, 100}} {
		frames, bytes := readCapture(t, path(file))
		if frames < want.frames || frames > want.frames+probes || bytes != want.bytes {
			t.Errorf("%s has %d frames, of %d bytes each, want %+v", file, frames, bytes, want)
		}
	}
}

// shortPaths is a directory for sockets, whose paths must be short.
func shortPaths(t *testing.T) (path func(name string) string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return func(name string) string { return filepath.Join(dir, name) }
}

// capturing is a confined vvufwd between two sockets, a and b.
type capturing struct {
	t    *testing.T
	path func(name string) string
	cmd  *exec.Cmd
	log  *journal
}

// startCapturing starts it, and waits until it does for front-ends.
func startCapturing(t *testing.T, path func(name string) string, flags ...string) *capturing {
	t.Helper()
	cmd := exec.Command(programs.vvufwd, append([]string{"--log-format=json", "--vhost-user=" + path("a"), "--vhost-user=" + path("b")}, flags...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &capturing{t, path, cmd, newJournal(stderr)}
	t.Cleanup(func() { cmd.Process.Kill() })
	c.said("waiting for a front-end", 2)
	return c
}

// said waits until its log has said something so often.
func (c *capturing) said(words string, times int) {
	c.t.Helper()
	eventually(c.t, words, func() bool { return len(c.log.find(0, says("", words))) >= times })
}

// send sends frames both ways, all of which must arrive.
func (c *capturing) send(ctx context.Context, flags ...string) {
	c.t.Helper()
	flags = append([]string{"--port=" + c.path("a"), "--port=" + c.path("b"), "--both", "--verify", "--quiet"}, flags...)
	if out, err := exec.CommandContext(ctx, programs.vvugen, flags...).CombinedOutput(); err != nil {
		c.t.Fatalf("vvugen: %v: %s\n%s", err, out, c.log.outside())
	}
}

func (c *capturing) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// end ends it by a signal. It must end well.
func (c *capturing) end(by os.Signal) {
	c.t.Helper()
	c.signal(by)
	<-c.log.ended
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("vvufwd: %v\n%s", err, c.log.outside())
	}
}

// readCapture counts the frames of a file, and tells how many bytes of each there are.
func readCapture(t *testing.T, path string) (frames, bytes int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for ; ; frames++ {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames, bytes
		}
		if err != nil || info.Length != 100 {
			t.Fatalf("frame %d: %+v, %v", frames, info, err)
		}
		bytes = len(data)
	}
}
