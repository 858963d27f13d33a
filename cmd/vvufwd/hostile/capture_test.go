package hostile

import (
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
	dir, err := os.MkdirTemp("", "captured") // paths of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := func(name string) string { return filepath.Join(dir, name) }
	cmd := exec.Command(programs.vvufwd, "--log-format=json", "--vhost-user="+path("a"), "--vhost-user="+path("b"),
		"--capture="+path("a")+"="+path("a.pcapng")+",snaplen=60", "--capture=vhost-user:"+path("b")+"="+path("b.pcapng")+",off,filter=udp and not port 1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := newJournal(stderr)
	t.Cleanup(func() { cmd.Process.Kill() })
	said := func(words string, times int) {
		t.Helper()
		eventually(t, words, func() bool { return len(log.find(0, says("", words))) >= times })
	}
	said("waiting for a front-end", 2)
	send := func(frames string) {
		t.Helper()
		out, err := exec.Command(programs.vvugen, "--port="+path("a"), "--port="+path("b"), "--both", "--verify", "--quiet", "--rate=5000", "--count="+frames, "--size=100").CombinedOutput()
		if err != nil {
			t.Fatalf("vvugen: %v: %s\n%s", err, out, log.outside())
		}
	}
	send("500")
	if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	said("the capture is on", 2)
	send("300")
	if err := cmd.Process.Signal(unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	said("the capture is off", 2)
	send("700")
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-log.ended
	if err := cmd.Wait(); err != nil {
		t.Errorf("vvufwd: %v\n%s", err, log.outside())
	}
	const probes = 100 // of the generator, at most, before it counts
	for file, want := range map[string]struct{ frames, bytes int }{"a.pcapng": {1600, 60}, "b.pcapng": {600, 100}} {
		frames, bytes := readCapture(t, path(file))
		if frames < want.frames || frames > want.frames+probes || bytes != want.bytes {
			t.Errorf("%s has %d frames, of %d bytes each, want %+v", file, frames, bytes, want)
		}
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
