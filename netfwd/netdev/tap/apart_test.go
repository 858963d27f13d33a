package tap

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
)

// A device that is moved to another network namespace, as for a container, goes on there, and is followed again
// when it is back.
func TestAnotherNamespace(t *testing.T) {
	if _, err := exec.LookPath("nsenter"); err != nil {
		t.Skip("skipped: there is no program nsenter (Debian package util-linux)")
	}
	netdevtest.Namespace(t)
	d := open(t, "t0", 1)
	links := make(chan bool, 16)
	d.Follow(func() {}, func(up bool) { links <- up })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	defer func() {
		cancel()
		running.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()

	there := exec.Command("cat") // until its input ends
	there.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET}
	end, err := there.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Start(); err != nil {
		t.Skipf("skipped: no second network namespace: %v", err)
	}
	defer func() {
		end.Close()
		there.Wait()
	}()
	inside := func(words ...string) {
		t.Helper()
		out, err := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(there.Process.Pid), "-n", "ip"}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %v: %v: %s", words, err, out)
		}
	}

	s := netdevtest.NewSource(t)
	port := d.Ports()[0]
	passes := func(where string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			before := port.Counters().TxPackets
			s.Reset()
			s.Add(t, virtionet.Header{}, make([]byte, 64))
			if s.Send(t, port); port.Counters().TxPackets > before {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: nothing passes: %v", where, port.Counters().Drops)
			}
		}
	}
	passes("at first")
	netdevtest.IP(t, fmt.Sprintf("link set t0 netns %d", there.Process.Pid)) // down from then on
	inside("link", "set", "t0", "up")
	passes("in another namespace")
	here := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	inside("link", "set", "t0", "netns", here)
	netdevtest.IP(t, "link set t0 up mtu 4000")
	passes("back")
	for end := time.Now().Add(time.Minute); !d.Stats().Link; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", d.Stats())
		}
	}
	if s := d.Stats(); s.Returns != 0 {
		t.Errorf("%+v: it was never gone", s)
	}
}
