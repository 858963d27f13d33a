package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
)

// framesEachWay is how many frames a run of vvugen sends in each direction: enough for every ring to wrap many times.
const framesEachWay = 20000

// verify sends frames of size bytes from v1 to v2 and back at the same time, through all that is between them. Each must arrive as
// it was, once and in order. Fewer are in flight than any ring holds, so that none may be lost.
func (l *lab) verify(size int) {
	l.Helper()
	cmd := exec.CommandContext(l.ctx, l.tools.Vvugen, "--port", l.socket("v1"), "--port", l.socket("v2"), "--both", "--verify",
		"--payload", "full", "--size", strconv.Itoa(size), "--count", strconv.Itoa(framesEachWay), "--window", "48", "--timeout", "20s", "--json", "--quiet")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("vvugen: %v: %s\n%s", err, stderr.String(), out)
	}
	var run struct {
		Verified   bool
		Mpps       float64
		Directions []struct{ Sent, Received, Lost uint64 }
	}
	l.must(json.Unmarshal(out, &run))
	if !run.Verified || len(run.Directions) != 2 {
		l.Fatalf("vvugen is not content: %s", out)
	}
	for _, d := range run.Directions {
		if d.Sent != framesEachWay || d.Received != d.Sent || d.Lost != 0 {
			l.Errorf("of %d frames %d were sent and %d arrived: %s", framesEachWay, d.Sent, d.Received, out)
		}
	}
	l.Logf("%d bytes: %.3f Mpps, both ways together", size, run.Mpps)
}
