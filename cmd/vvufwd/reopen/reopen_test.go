package reopen

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/xdp"
)

func TestMain(m *testing.M) {
	if IsReopener() {
		if err := Run(zap.Must(zap.NewDevelopment())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The process, with most of its privileges gone, opens an interface again and again, says why it cannot,
// and ends when vvufwd does.
func TestProcess(t *testing.T) {
	netdevtest.Namespace(t)
	link := func() {
		netdevtest.IP(t, "link add v0 numtxqueues 2 numrxqueues 2 type veth peer name v1 numtxqueues 2 numrxqueues 2")
		netdevtest.IP(t, "link set v0 up")
		netdevtest.IP(t, "link set v1 up")
	}
	link()
	ports := []Port{{"xdp:v0", "v0", xdp.Options{Queues: 2}}, {"xdp:v1", "v1", xdp.Options{Queues: 2, Mode: xdp.Generic}}, {"xdp:none", "none", xdp.Options{Queues: 1}}}
	r, err := Start(ports, true)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, p := range ports[:2] {
			files, err := r.Open(p.Name)
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			i, err := xdp.New(files, nil)
			if err != nil {
				t.Fatal(err)
			}
			state, err := i.Look()
			if err != nil || state.Name != p.Interface || !state.Up {
				t.Errorf("%+v, %v", state, err)
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		}
		netdevtest.IP(t, "link del v0")
		if _, err := r.Open("xdp:v0"); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("an interface that is not there: %v", err)
		}
		link()
	}
	if _, err := r.Open("xdp:v7"); !errors.Is(err, ErrNone) {
		t.Errorf("a port that is none: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid > 0 && err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
}
