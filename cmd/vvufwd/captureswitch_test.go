package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestCaptureAtSwitch has each of four ports of a switch captured, from SIGUSR1 on: its file has the port's name, what its guest has sent
// as received, and as sent what the switch took there, a frame for all once in each file.
func TestCaptureAtSwitch(t *testing.T) {
	const ports = 4
	dir := t.TempDir()
	var args, sockets, files []string
	for i := range ports {
		sockets = append(sockets, filepath.Join(dir, fmt.Sprintf("%d.sock", i)))
		files = append(files, filepath.Join(dir, fmt.Sprintf("%d.pcapng", i)))
		args = append(args, "--vhost-user", sockets[i], "--capture", sockets[i]+"="+files[i]+",off")
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	forward := exec.CommandContext(t.Context(), "vvufwd", append(args, "--switch")...)
	forward.Stdout, forward.Stderr = log, log
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			forward.Process.Kill()
			forward.Wait()
		}
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("vvufwd's log:\n%s", text)
		}
	}()
	says := func(text string, times int) {
		t.Helper()
		for deadline := time.Now().Add(vvutest.Patience); ; time.Sleep(5 * time.Millisecond) {
			if said, err := os.ReadFile(log.Name()); err == nil && strings.Count(string(said), text) >= times {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("vvufwd does not say %q %d times", text, times)
			}
		}
	}
	says("waiting for a front-end", ports)

	guests := make([]*vvutest.App, ports)
	for i := range guests {
		ram := vvutest.NewRAM(t)
		if guests[i], err = vvutest.Boot(ram, sockets[i], vvutest.AppConfig{Style: vhostuser.QEMU}); err == nil {
			err = guests[i].Connect()
		}
		if err == nil {
			err = guests[i].Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		defer guests[i].Halt()
	}
	mac := func(i int) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0, 7, byte(i)} }
	all, unknown := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac(ports)
	// Frames have a number, which is 0 until all ports are known to be up.
	send := func(from int, to net.HardwareAddr, number byte) {
		t.Helper()
		frame := append(slices.Concat(to, mac(from), []byte{0x88, 0xb5}), bytes.Repeat([]byte{number}, 50)...)
		if err := guests[from].Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(at int, number byte) {
		t.Helper()
		for {
			frame, err := guests[at].Receive()
			if err != nil {
				t.Fatalf("frame %d at port %d: %v", number, at, err)
			}
			if got := frame[len(frame)-1]; got == number {
				return
			} else if got != 0 {
				t.Fatalf("port %d has frame %d, want %d", at, got, number)
			}
		}
	}
	for i := range ports {
		for j := range ports {
			for deadline := time.Now().Add(vvutest.Patience); i != j; time.Sleep(time.Millisecond) {
				send(i, all, 0)
				if frame, err := guests[j].TryReceive(); err != nil {
					t.Fatal(err)
				} else if frame != nil && bytes.Equal(frame[6:12], mac(i)) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("nothing of port %d arrives at port %d", i, j)
				}
				for other := range ports { // whose rings fill otherwise
					for frame := []byte{0}; other != j && frame != nil; {
						if frame, err = guests[other].TryReceive(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	}
	forward.Process.Signal(unix.SIGUSR1)
	says("the capture is on", ports)

	var want [ports][]string
	for n, f := range []struct {
		from int
		to   net.HardwareAddr
		at   []int
	}{{0, all, []int{1, 2, 3}}, {1, mac(0), []int{0}}, {2, mac(1), []int{1}}, {3, unknown, []int{0, 1, 2}}, {0, mac(3), []int{3}}} {
		number := byte(n + 1)
		send(f.from, f.to, number)
		want[f.from] = append(want[f.from], fmt.Sprintf("%d in", number))
		for _, at := range f.at {
			receive(at, number)
			want[at] = append(want[at], fmt.Sprintf("%d out", number))
		}
	}
	forward.Process.Signal(unix.SIGINT)
	err, ended = forward.Wait(), true
	if err != nil {
		t.Errorf("vvufwd: %v", err)
	}
	for i, file := range files {
		name, frames := capturedAt(t, file)
		if want := "vhost-user:" + sockets[i]; name != want {
			t.Errorf("port %d: the interface is %q, want %q", i, name, want)
		}
		if !slices.Equal(frames, want[i]) {
			t.Errorf("port %d: captured %q, want %q", i, frames, want[i])
		}
	}
}

// capturedAt reads a pcapng file: the name of its interface, and of each frame with a number that, and its direction.
func capturedAt(t *testing.T, file string) (name string, frames []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for len(text) >= 12 {
		kind, length := binary.LittleEndian.Uint32(text), binary.LittleEndian.Uint32(text[4:])
		if length < 12 || int(length) > len(text) {
			t.Fatalf("%s: a block of %d bytes", file, length)
		}
		body := text[8 : length-4]
		text = text[length:]
		switch kind {
		case 1: // an interface: link type and snap length, then options, of which 2 is its name
			name = string(optionOf(body[8:], 2))
		case 6: // a frame: interface, time, captured and whole length, then the frame, and options, of which 2 are flags
			data := body[20:][:binary.LittleEndian.Uint32(body[12:])]
			direction := map[byte]string{1: "in", 2: "out"}[optionOf(body[20+(len(data)+3)&^3:], 2)[0]&3]
			if number := data[len(data)-1]; number != 0 {
				frames = append(frames, fmt.Sprintf("%d %s", number, direction))
			}
		}
	}
	return name, frames
}

// optionOf is the value of an option of a pcapng block; four zeros if there is none.
func optionOf(options []byte, code uint16) []byte {
	for len(options) >= 4 {
		length := int(binary.LittleEndian.Uint16(options[2:]))
		if binary.LittleEndian.Uint16(options) == code {
			return options[4:][:length]
		}
		options = options[4+(length+3)&^3:]
	}
	return make([]byte, 4)
}
