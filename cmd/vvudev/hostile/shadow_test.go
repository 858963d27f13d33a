package hostile

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// startShadows starts one vvudev with a shadow region for each of n app VMs.
func startShadows(t *testing.T, n int) []*device {
	t.Helper()
	dir, err := os.MkdirTemp("", "v") // paths of sockets must be short
	must(t, err)
	args := []string{"--shadow", "4M", "--queues", "4"}
	devices := make([]*device, n)
	for i := range devices {
		d := &device{t: t, ram: vvutest.NewRAM(t), monitor: filepath.Join(dir, "m"+string(rune('0'+i))), app: filepath.Join(dir, "a"+string(rune('0'+i)))}
		args = append(args, "--device", "vfio-user="+d.monitor+",vhost-user="+d.app)
		devices[i] = d
	}
	first := devices[0]
	process := startVvudev(t, dir, &first.log, args...)
	for _, d := range devices {
		d.process = process
		d.sessions = func() (n int) {
			for line := range strings.Lines(first.log.String()) {
				if strings.Contains(line, "the driver VM serves the app VM") && strings.Contains(line, d.monitor) {
					n++
				}
			}
			return n
		}
		d.eventually("vvudev is there", func() bool {
			c, err := vhostuser.Dial(d.app)
			if err == nil {
				c.Close()
			}
			return err == nil && d.status("Seccomp") == "2"
		})
	}
	return devices
}

// secret fills an app VM's RAM.
var secret = []byte("the app VM's RAM and no one else's business")

// A driver VM scribbles over all that it can reach, as fast as it can, while another one behind the same vvudev
// goes on, and loses nothing. In what it can reach is nothing of its app VM's RAM. When it has come to its senses
// it is served again.
func TestDriverVMScribblesOverItsShadow(t *testing.T) {
	devices := startShadows(t, 2)
	evil, good := devices[0], devices[1]
	for at := 0; at < len(evil.ram.Bytes); at += 64 {
		copy(evil.ram.Bytes[at:at+64], secret)
	}
	neighbour, driver := good.drive(), evil.drive()
	app, err := vvutest.Boot(evil.ram, evil.app, vvutest.AppConfig{Style: vhostuser.QEMU})
	must(t, err)
	must(t, app.Connect())
	must(t, app.Start())
	stopSending := sync.OnceFunc(goRun(func(ctx context.Context) {
		for k := byte(0); ctx.Err() == nil; k++ {
			if app.TrySend(0, bytes.Repeat([]byte{k}, 200)) != nil {
				return
			}
			app.TryReceive()
			time.Sleep(50 * time.Microsecond)
		}
	}))
	defer stopSending()
	size := uint64(4 << 20)
	bar, err := driver.monitor.MapBAR(4, 0, size)
	must(t, err)
	defer driver.monitor.Unmap(bar)
	eventually := func() bool { return bytes.Contains(bar, bytes.Repeat([]byte{7}, 100)) }
	evil.eventually("a frame in the region", eventually)
	if bytes.Contains(bar, secret[:16]) {
		t.Error("the region has something of the app VM's RAM")
	}
	stopScribbling := sync.OnceFunc(goRun(func(ctx context.Context) {
		r := rand.New(rand.NewPCG(1, 2))
		for ctx.Err() == nil {
			for range 1000 {
				at := r.Uint64N(size)
				if r.IntN(2) == 0 {
					at %= 16 << 10 // the first ring, more often
				}
				bar[at] = byte(r.Uint32())
			}
			driver.wire.Push(bytes.Repeat([]byte{9}, 100))
			driver.wire.Discard()
			time.Sleep(20 * time.Microsecond)
		}
	}))
	defer stopScribbling()
	for range 5 {
		neighbour.exchange()
	}
	stopScribbling()
	stopSending()
	if bytes.Contains(bar, secret[:16]) {
		t.Error("the region has something of the app VM's RAM")
	}
	must(t, app.Halt())
	evil.eventually("service again", func() bool { // its driver has been told of broken rings, and begins anew
		driver.wire.Discard()
		return driver.wire.Waiting() == 0
	})
	driver.exchange()
	neighbour.exchange()
}
