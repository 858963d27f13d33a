package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/vvu/vhostuser"
)

// Scripts know two vvufwds: the one that tests are built with, and that may have the
// race detector, keeps its privileges; the other is built as it is shipped.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvufwd": func() {
			if len(os.Args) == 1 || strings.HasPrefix(os.Args[1], "-") { // and is no word in place of flags
				os.Args = slices.Insert(os.Args, 1, "--no-confine")
			}
			main()
		},
		"peer":       peer,
		"scrape":     scrape,
		"blocks":     blocks,
		"supervisor": supervisor,
	})
}

// TestCLI plays command lines and checks messages and exit codes.
func TestCLI(t *testing.T) { play(t, "testdata", "") }

// TestConfined plays scripts with vvufwd as it is shipped, which gives up its
// privileges, those about sockets and those about what is left of it then.
func TestConfined(t *testing.T) {
	dir := clitest.Static(t, "vvufwd", "vvugen", "vvuctl")
	playConfined(t, dir)
	play(t, "testdata/interfaces", dir)
	t.Run("starts", func(t *testing.T) { clitest.Starts(t, filepath.Join(dir, "vvufwd"), start) })
}

// TestConfinedWithCgo is for who builds with "go build" where there is a C compiler.
func TestConfinedWithCgo(t *testing.T) {
	playConfined(t, clitest.WithCgo(t, "vvufwd", "vvugen", "vvuctl"))
}

// start is a vvufwd that a front-end asks for its features.
func start(dir string) clitest.Start {
	socket := filepath.Join(dir, "a")
	ask := func() (func(), error) {
		c, err := vhostuser.Dial(socket)
		if err != nil {
			return nil, err
		}
		err = c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
		if err == nil {
			_, err = c.ReadMessage()
		}
		return func() { c.Close() }, err
	}
	return clitest.Start{Args: []string{"--vhost-user", socket, "--vhost-user", filepath.Join(dir, "b")}, Ask: ask}
}

// playConfined plays all scripts with the programs in a directory.
func playConfined(t *testing.T, programs string) {
	play(t, "testdata", programs)
	play(t, "testdata/confined", programs)
}

func play(t *testing.T, dir, programs string) {
	t.Helper()
	clitest.Play(t, dir, programs, nil, func(cond string) (bool, error) {
		// Machines that do have VFIO fail later, with other messages.
		_, err := os.Stat("/dev/vfio/vfio")
		return cond == "novfio" && err != nil || cond == "interfaces" && canMakeInterfaces(t), nil
	})
}

// canMakeInterfaces reports whether scripts can have a network namespace of their own.
func canMakeInterfaces(t *testing.T) bool {
	out, err := exec.Command("unshare", "--net", "ip", "tuntap", "add", "t0", "mode", "tap").CombinedOutput()
	if err != nil {
		t.Logf("no network namespace with a TAP device: %v: %s", err, out)
	}
	return err == nil
}

// peer listens at a socket, waits until someone connects, and closes the connection:
// peer SOCKET.
func peer() {
	l, err := net.Listen("unix", os.Args[1])
	if err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			err = errors.Join(conn.Close(), l.Close())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// scrape prints the page at the address that a log has: scrape LOG.
func scrape() {
	log, err := os.ReadFile(os.Args[1])
	if err == nil {
		var page *http.Response
		if page, err = http.Get(string(regexp.MustCompile(`http://[^"]+`).Find(log))); err == nil {
			defer page.Body.Close()
			_, err = io.Copy(os.Stdout, page.Body)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// blocks counts the blocks of a capture, all of which must be whole: blocks FILE.
func blocks() {
	text, err := os.ReadFile(os.Args[1])
	count, fillers := 0, 0
	for err == nil && len(text) > 0 {
		length := 0
		if len(text) >= 12 {
			length = int(binary.LittleEndian.Uint32(text[4:]))
		}
		if length < 12 || length > len(text) || int(binary.LittleEndian.Uint32(text[length-4:])) != length {
			err = fmt.Errorf("block %d of %d bytes, of which there are %d", count, length, len(text))
			break
		}
		if binary.LittleEndian.Uint32(text) == 0x80000000 {
			fillers++
		}
		text = text[length:]
		count++
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d blocks, %d of them a filler\n", count, fillers)
}

// supervisor opens queues of TAP devices, which are made, and becomes a program that has them as its descriptors 3, 4 and so on:
// supervisor NAME QUEUES [NAME QUEUES] PROGRAM ARGS…
func supervisor() {
	args, opened := os.Args[1:], []int{}
	err := error(nil)
	for len(args) > 2 && err == nil {
		queues, isCount := strconv.Atoi(args[1])
		if isCount != nil {
			break
		}
		for range queues {
			var fd int
			if fd, err = openTAPQueue(args[0]); err != nil {
				break
			}
			opened = append(opened, fd)
		}
		args = args[2:]
	}
	for i, fd := range opened {
		err = errors.Join(err, unix.Dup2(fd, 3+i)) // this program needs none of its own any more
	}
	if err == nil {
		var program string
		if program, err = exec.LookPath(args[0]); err == nil {
			err = unix.Exec(program, args, os.Environ())
		}
	}
	fmt.Fprintln(os.Stderr, "supervisor:", err)
	os.Exit(1)
}

// openTAPQueue opens one, as a descriptor that is not among the first ones.
func openTAPQueue(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return -1, err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return -1, err
	}
	const first = 100
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, first)
}

func TestPortsArePairedInOrder(t *testing.T) {
	if _, err := parseFlags([]string{"--vvu", "5.0", "--nic=0000:00:04.0"}, false, os.Stderr); err == nil {
		t.Fatal("accepted the address 5.0")
	}
	o, err := parseFlags([]string{"--vvu", "00:05.0", "--nic=0000:00:04.0", "--port", "vhost-user:/b.sock,client", "--port=virtio-net:01:00.0"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range o.ports {
		got = append(got, p.String())
	}
	want := []string{"vvu:0000:00:05.0", "nic:0000:00:04.0", "vhost-user:/b.sock", "virtio-net:0000:01:00.0"}
	if !slices.Equal(got, want) || !o.ports[2].client {
		t.Errorf("ports %v, want %v", got, want)
	}
	if o.bind {
		t.Error("binds drivers without being asked or being init")
	}
	if o, err = parseFlags([]string{"--vvu=00:05.0", "--nic=00:04.0"}, true, os.Stderr); err != nil || !o.bind {
		t.Errorf("as init functions must be bound: %v", err)
	}
}

// Macvtap ports at the same interface are different ones, by whatever name.
func TestMacvtapsAtOneInterface(t *testing.T) {
	args := []string{"--port=macvtap:eth1", "--vhost-user=/a", "--port=macvtap:eth1,mode=private", "--vhost-user=/b", "--port=macvtap:eth2", "--vhost-user=/c"}
	o, err := parseFlags(append(args, "--capture=macvtap:eth1=/1", "--capture=eth1#2=/2"), false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "macvtap:eth1", 2: "macvtap:eth1#2", 4: "macvtap:eth2"} {
		if got := o.ports[i].String(); got != want {
			t.Errorf("port %d is called %s, want %s", i, got, want)
		}
	}
	for i, want := range []int{0, 2} {
		if got := o.captures[i].port; got != want {
			t.Errorf("capture %d is of port %d, want %d", i, got, want)
		}
	}
	if _, err := parseFlags([]string{"--port=packet:eth1", "--vhost-user=/a", "--port=packet:eth1", "--vhost-user=/b"}, false, io.Discard); err == nil {
		t.Error("another kind can be named twice")
	}
}

func TestHugePages(t *testing.T) {
	for want, args := range map[int][]string{
		4: {"--vhost-user=/a", "--vhost-user=/b"}, 16: {"--vvu=00:05.0", "--nic=00:04.0"}, 28: {"--nic=00:05.0", "--port=virtio-net:00:04.0"},
		0: {"--vvu=00:05.0", "--nic=00:04.0", "--hugepages=0"}, 7: {"--vvu=00:05.0", "--nic=00:04.0", "--hugepages", "7"},
	} {
		if o, err := parseFlags(args, true, os.Stderr); err != nil || o.hugePages != want {
			t.Errorf("%v: %v, want %d huge pages", args, err, want)
		}
	}
}

func TestSwitchPorts(t *testing.T) {
	o, err := parseFlags([]string{"--switch", "--isolate", "--nic", "00:04.0", "--vvu=00:05.0,mac=52:54:00:00:00:01",
		"--port", "vhost-user:/b.sock,mac=52:54:00:00:00:02,client", "--mac-age=20s", "--mac-limit=9"}, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []portSpec{{kind: "nic"}, {isolated: true}, {isolated: true, client: true}} {
		p := o.ports[i]
		if p.isolated != want.isolated || p.client != want.client || p.uplink() != want.uplink() || (p.mac == nil) != p.uplink() {
			t.Errorf("port %d is %+v", i, p)
		}
	}
	if o.ports[2].mac.String() != "52:54:00:00:00:02" || o.macAge != 20*time.Second || o.macLimit != 9 || len(o.loopCPUs(1)) != 1 {
		t.Errorf("parsed %+v", o)
	}
	if o, err = parseFlags([]string{"--switch", "--vhost-user=/a,isolate", "--vhost-user=/b,isolate", "--vhost-user=/c"}, false, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if !o.ports[0].isolated || !o.ports[1].isolated || o.ports[2].isolated {
		t.Errorf("parsed %+v", o.ports)
	}
}

func TestRelativeSocketsBecomeAbsolute(t *testing.T) {
	o, err := parseFlags([]string{"--vhost-user", "a.sock", "--vhost-user", "b.sock"}, false, os.Stderr)
	if err != nil || !filepath.IsAbs(o.ports[0].path) {
		t.Errorf("%v, %v", o, err)
	}
}
