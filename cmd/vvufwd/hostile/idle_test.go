package hostile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// A vvufwd whose guests say nothing sleeps: hardly ever does the kernel have to run it. And it
// wakes up for each frame, however long it has slept: since it looks at nothing by itself, one kick
// that got lost would be one frame that never arrives.
func TestIdleSleeps(t *testing.T) {
	f := startForwarder(t, 2, "--stats=0s", "--idle-after=500us")
	var ends [2]*vvutest.App
	for i, path := range f.sockets {
		app, err := vvutest.Boot(vvutest.NewRAM(t), path, vvutest.AppConfig{Style: vhostuser.QEMU, Features: vvutest.AllFeatures, Entries: 64})
		if err != nil {
			t.Fatal(err)
		}
		defer app.Halt()
		if err := app.Connect(); err != nil {
			t.Fatal(err)
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		ends[i] = app
	}
	pass := func(from int, number uint32) {
		t.Helper()
		var frame [70]byte
		binary.LittleEndian.PutUint32(frame[20:], number)
		if err := ends[from].Send(frame[:]); err != nil {
			t.Fatal(err)
		}
		to := ends[1-from]
		eventually(t, fmt.Sprintf("frame %d from %d wakes vvufwd up", number, from), func() bool { return to.Waiting(0) })
		got, err := to.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint32(got[20:]); n != number {
			t.Fatalf("frame %d arrived, want %d", n, number)
		}
	}
	for i := range 60 {
		time.Sleep(time.Duration(i*i%31) * time.Millisecond)
		pass(i%2, uint32(i))
	}

	const most = 20 // a second; it was 110 when a sleep lasted 100 ms
	const watched = 2 * time.Second
	fewest := int64(1 << 62)
	eventually(t, "vvufwd sleeps", func() bool { // a front-end or Go's collector may still have something to do
		before := switches(t, f.cmd.Process.Pid)
		time.Sleep(watched)
		fewest = min(fewest, switches(t, f.cmd.Process.Pid)-before)
		return fewest <= most*int64(watched/time.Second)
	})
	t.Logf("an idle vvufwd was run %d times in %v", fewest, watched)
	pass(0, 1000)
	pass(1, 1001)
}

// switches is how often threads of a process have gone to sleep.
func switches(t *testing.T, pid int) (n int64) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, path := range tasks {
		file, err := os.Open(path)
		if err != nil {
			continue // it has ended
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if text, found := strings.CutPrefix(lines.Text(), "voluntary_ctxt_switches:"); found {
				count, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				n += count
			}
		}
		file.Close()
	}
	return n
}
