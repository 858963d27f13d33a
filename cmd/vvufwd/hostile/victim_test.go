package hostile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// victim is a vvugen process that sends frames both ways through a pair of its
// own and checks each.
type victim struct {
	cmd    *exec.Cmd
	result bytes.Buffer

	mu    sync.Mutex
	rates []rate
	words []string // what is no progress
	ended chan struct{}
}

// rate is how fast frames passed in one second, in one direction.
type rate struct {
	at   time.Time
	mpps float64
}

// gentle is a load that leaves CPU to the attack.
var gentle = []string{"--rate=20000", "--size=256"}

// startVictim starts verified traffic between ports a and b, waits until it flows,
// and stops it at the end of the test, where it must be complete.
func startVictim(t *testing.T, f *forwarder, a, b int, flags ...string) *victim {
	t.Helper()
	v := launchVictim(t, f.sockets[a], f.sockets[b], append([]string{"--duration=100h"}, flags...)...)
	t.Cleanup(func() {
		v.cmd.Process.Signal(unix.SIGTERM)
		v.judge(t)
	})
	eventually(t, "the victim's traffic flows", func() bool {
		return f.stats.port(f.sockets[a]).RxPackets > 100 && f.stats.port(f.sockets[b]).RxPackets > 100
	})
	return v
}

// launchVictim starts traffic with an end of its own.
func launchVictim(t *testing.T, a, b string, flags ...string) *victim {
	t.Helper()
	v := &victim{ended: make(chan struct{})}
	v.cmd = exec.Command(programs.vvugen, append([]string{"--port=" + a, "--port=" + b, "--both", "--verify", "--json"}, flags...)...)
	v.cmd.Stdout = &v.result
	stderr, err := v.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go v.follow(stderr)
	return v
}

// follow reads the progress: "   3s     0.020 Mpps  sent 60000 received 59968  a -> b".
func (v *victim) follow(r io.Reader) {
	defer close(v.ended)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		var mpps float64
		progress := len(fields) > 2 && fields[2] == "Mpps" && json.Unmarshal([]byte(fields[1]), &mpps) == nil
		v.mu.Lock()
		if progress {
			v.rates = append(v.rates, rate{time.Now(), mpps})
		} else {
			v.words = append(v.words, lines.Text())
		}
		v.mu.Unlock()
	}
}

// progress returns the rates seen so far.
func (v *victim) progress() []rate {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]rate(nil), v.rates...)
}

// judge waits for the end of the traffic and checks that nothing was lost, and
// returns how many frames passed each way.
func (v *victim) judge(t *testing.T) (passed []uint64) {
	t.Helper()
	<-v.ended
	err := v.cmd.Wait()
	var result struct {
		Verified   bool `json:"verified"`
		Directions []struct {
			Name     string            `json:"name"`
			Sent     uint64            `json:"sent"`
			Received uint64            `json:"received"`
			Lost     uint64            `json:"lost"`
			Faults   map[string]uint64 `json:"faults"`
		} `json:"directions"`
	}
	if jsonErr := json.Unmarshal(v.result.Bytes(), &result); err != nil || jsonErr != nil {
		t.Errorf("the victim's traffic failed: %v: %s%s", err, v.result.String(), strings.Join(v.words, "\n"))
		return nil
	}
	for _, d := range result.Directions {
		if d.Received == 0 || d.Received != d.Sent || d.Lost != 0 || len(d.Faults) != 0 {
			t.Errorf("the victim sent %d frames %s and got %d, lost %d, faults %v", d.Sent, d.Name, d.Received, d.Lost, d.Faults)
		}
		passed = append(passed, d.Received)
	}
	if !result.Verified || len(passed) != 2 {
		t.Errorf("the victim's frames are not verified: %s", v.result.String())
	}
	return passed
}

// kill ends the traffic without a word, as a crash does.
func (v *victim) kill() {
	v.cmd.Process.Kill()
	<-v.ended
	v.cmd.Wait()
}
