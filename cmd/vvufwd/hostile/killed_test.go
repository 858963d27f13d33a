package hostile

import (
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// A vvufwd that is killed under load, again and again, and front-ends that keep what it has
// in flight (INFLIGHT_SHMFD): every frame arrives once and in order, in both directions.
func TestKilledUnderLoad(t *testing.T) {
	t.Run("split", func(t *testing.T) { killUnderLoad(t, vvutest.AllFeatures) })
	t.Run("packed", func(t *testing.T) { killUnderLoad(t, vvutest.AllFeatures|virtio.RingPacked) })
}

func killUnderLoad(t *testing.T, features virtio.Features) {
	dir := t.TempDir()
	sockets := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	start := func() *exec.Cmd {
		cmd := exec.Command(programs.vvufwd, "--vhost-user="+sockets[0], "--vhost-user="+sockets[1], "--idle-after=-1us")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	process := start()
	defer func() { process.Process.Kill(); process.Wait() }()
	var ends [2]*vvutest.App
	for i, path := range sockets {
		eventually(t, "vvufwd listens", func() bool {
			app, err := vvutest.Boot(vvutest.NewRAM(t), path, vvutest.AppConfig{Style: vhostuser.CloudHypervisor, Features: features, Entries: 64})
			ends[i] = app
			return err == nil
		})
		defer ends[i].Halt()
		if err := ends[i].Connect(); err != nil {
			t.Fatal(err)
		}
		if !ends[i].Front.Protocol().Has(vhostuser.ProtoInflightShmFD) {
			t.Fatal("INFLIGHT_SHMFD is not offered")
		}
		if err := ends[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	var sent, got [2]uint32
	// turn sends what there is room for, and takes what has come.
	turn := func(sending bool) {
		t.Helper()
		for i, app := range ends {
			for n := 0; sending && n < 16 && app.Room(0); n++ {
				var frame [70]byte
				binary.LittleEndian.PutUint32(frame[20:], sent[i])
				if err := app.Send(frame[:]); err != nil {
					t.Fatal(err)
				}
				sent[i]++
			}
			for app.Waiting(0) {
				frame, err := app.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if n := binary.LittleEndian.Uint32(frame[20:]); n != got[i] {
					t.Fatalf("end %d: frame %d came in place of %d", i, n, got[i])
				}
				got[i]++
			}
		}
	}
	kills := cycles(t, 16, 40)
	for k := range kills {
		target := got[0] + uint32(300+k*17%100)
		for deadline := time.Now().Add(patience); got[0] < target || got[1] == 0; {
			turn(true)
			if time.Now().After(deadline) {
				t.Fatalf("after %d kills nothing comes any more: sent %v, got %v", k, sent, got)
			}
		}
		killed := make(chan struct{})
		go func() {
			process.Process.Kill()
			process.Wait()
			close(killed)
		}()
		for over := false; !over; {
			turn(true)
			select {
			case <-killed:
				over = true
			default:
			}
		}
		process = start()
		for n := range ends {
			i := (n + k) % 2 // either comes back first
			eventually(t, "vvufwd is back", func() bool { return ends[i].Reconnect(sockets[i]) == nil })
			if err := ends[i].Front.Resume(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(patience); got[0] != sent[1] || got[1] != sent[0]; turn(false) {
		if time.Now().After(deadline) {
			t.Fatalf("sent %v, got %v", sent, got)
		}
	}
	t.Logf("%d kills, %d and %d frames", kills, got[0], got[1])
}
