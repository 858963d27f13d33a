package xdp

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

// What cannot be opened is told in one line that says what to do.
func TestErrors(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 mtu 9000 numtxqueues 4 numrxqueues 4 type veth peer name v1 mtu 9000 numtxqueues 1 numrxqueues 4")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link add d0 type bridge")
	netdevtest.IP(t, "link add taken type veth peer name other")
	netdevtest.IP(t, "link add few numrxqueues 1 numtxqueues 1 type veth peer name many numtxqueues 4 numrxqueues 4")
	for _, up := range []string{"few", "lo", "d0", "taken", "v1"} {
		netdevtest.IP(t, "link set "+up+" up")
	}
	socket := netdevtest.Socket(t)
	index, _, err := netdev.Ethernet(socket, "taken")
	if err != nil {
		t.Fatal(err)
	}
	p := passes(t)
	defer p.Close()
	link, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	for _, test := range []struct {
		name, want string
		options    Options
	}{
		{"none", "does not exist", Options{}},
		{"other", "is down: ip link set other up", Options{}},
		{"lo", "carries no Ethernet frames", Options{}},
		{"v0", "it has 4 queues, and vvufwd serves 2: let it have fewer (ethtool -L v0 combined 2, or rx), or more be served (--queues)", Options{Queues: 2}},
		{"v1", "it has 4 queues to receive and 1 to send, and each socket takes one of both: ethtool -L v1 rx 1", Options{}},
		{"v0", "mode=zerocopy: queue 0: bind a socket: operation not supported", Options{Mode: ZeroCopy}},
		{"few", "veth: XDP expects number of rx queues not less than peer tx queues: no space left on device: the driver does not have it, at least not as it is set up: change what it names, or", Options{Mode: Native}},
		{"d0", "not support XDP in native mode: operation not supported: leave the mode to vvufwd", Options{Mode: Native}},
		{"taken", "it has an XDP program already (passes, id ", Options{}},
		{"x/y", "no interface can have that name", Options{}},
	} {
		if test.options.Queues == 0 {
			test.options.Queues = 4
		}
		files, err := Open(test.name, test.options)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || files != nil {
			t.Errorf("%s, %+v: %v, want %q", test.name, test.options, err, test.want)
		}
	}
	if _, err := ParseMode("drv"); err == nil || !strings.Contains(err.Error(), "want zerocopy, copy or generic") {
		t.Errorf("a mode that is none: %v", err)
	}
}

// passes loads a program of another kind than vvufwd's, which passes all frames.
func passes(t *testing.T) *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "passes", Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A program that may be going is waited for: one of vvufwd, or one that is no more. One of another kind is not.
func TestDescribeProgram(t *testing.T) {
	netdevtest.Namespace(t)
	ours, err := load(1)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.close()
	other := passes(t)
	for _, tc := range []struct {
		program *ebpf.Program
		text    string
		going   bool
	}{{ours.Program, programName + ", id %d", true}, {other, "passes, id %d", false}, {nil, "id %d", true}} {
		id := ebpf.ProgramID(math.MaxUint32)
		if tc.program != nil {
			info, err := tc.program.Info()
			if err != nil {
				t.Fatal(err)
			}
			id, _ = info.ID() // Linux 4.13
		}
		if text, going := describeProgram(uint32(id)); text != fmt.Sprintf(tc.text, id) || going != tc.going {
			t.Errorf("%s, going: %v; want %s, %v", text, going, tc.text, tc.going)
		}
	}
	// Of those that the shipped unit leaves, none lets it look.
	info, err := other.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	without(t, []uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF}, func() {
		if text, going := describeProgram(uint32(id)); text != fmt.Sprintf("id %d", id) || !going {
			t.Errorf("without CAP_SYS_ADMIN: %s, going: %v", text, going)
		}
	})
	other.Close()
}

// A driver that adds queues when it gets a program is refused in modes in which it runs that.
func TestMoreQueues(t *testing.T) {
	for mode, refused := range map[Mode]bool{ZeroCopy: true, Native: true, Generic: false} {
		op := &opening{properties: properties{Name: "eth1", Mode: mode, Queues: 4}}
		if err := op.refuseMore(4); err != nil {
			t.Errorf("%s: as many as before: %v", mode, err)
		}
		err := op.refuseMore(2)
		if (err != nil) != refused || refused && (final(err) || !strings.Contains(err.Error(), "ethtool -L eth1 combined 4")) {
			t.Errorf("%s: more than before: %v", mode, err)
		}
	}
}

// Errors of the kernel get a word about what to do.
func TestExplain(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EPERM: "run as root", unix.ENOBUFS: "ulimit -l", unix.EBUSY: "another program has it", unix.EIO: "",
	} {
		if err := explain(errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", errno, err, want)
		}
	}
}

// An MTU whose frames do not pass is refused, and so is one that is set later.
func TestJumbo(t *testing.T) {
	p := properties{Chunk: largeChunk}
	if most := p.maxMTU(); most != 3822 {
		t.Errorf("MTU up to %d", most)
	}
	for mtu, want := range map[int]uint32{1500: smallChunk, 1774: smallChunk, 1775: largeChunk, 9000: largeChunk} {
		if got := chunkFor(Native, mtu); got != want {
			t.Errorf("MTU %d: chunks of %d", mtu, got)
		}
		if got := chunkFor(ZeroCopy, mtu); got != largeChunk {
			t.Errorf("MTU %d, zero copy: chunks of %d", mtu, got)
		}
	}
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	files, err := Open("v0", Options{Queues: 64})
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	i.(*device).Parts = false
	netdevtest.IP(t, "link set v0 mtu 1775")
	if s, err := i.Look(); err != nil || !strings.Contains(s.Trouble, "may be 1774 at most: ip link set v0 mtu 1774") {
		t.Errorf("%+v, %v", s, err)
	}
	netdevtest.IP(t, "link set v0 mtu 1774")
	if s, err := i.Look(); err != nil || s.Trouble != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// What the one before has not let go of yet, a queue or the program, is waited for, until one is stopped.
func TestBusyIsWaitedFor(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1")
	netdevtest.IP(t, "link set v0 up")
	socket := netdevtest.Socket(t)
	index, _, err := netdev.Ethernet(socket, "v0")
	if err != nil {
		t.Fatal(err)
	}
	for name, hold := range map[string]func() ([]*os.File, error){
		"a queue": func() ([]*os.File, error) {
			op := &opening{properties: properties{Index: index, Name: "v0", Mode: Native, Queues: 1, Chunk: largeChunk}}
			s, umem, err := op.unbound(0)
			if err != nil {
				return nil, err
			}
			raw, err := s.SyscallConn()
			if err == nil {
				e := raw.Control(func(fd uintptr) { err = op.bind(int(fd), 0) })
				err = errors.Join(e, err)
			}
			return []*os.File{s, umem}, err
		},
		"the program": func() ([]*os.File, error) {
			p, err := load(1)
			if err != nil {
				return nil, err
			}
			defer p.close()
			link, err := p.attach(index, Native)
			return made(link), err
		},
	} {
		held, err := hold()
		for end := time.Now().Add(patience); errors.Is(err, unix.EBUSY) && time.Now().Before(end); time.Sleep(pause) {
			// What the round before has closed takes the kernel a while to give up.
			if err = closeAll(held); err == nil {
				held, err = hold()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := Open("v0", Options{Queues: 1, Mode: Native, Stopped: func() bool { return true }}); err == nil || time.Since(began) >= patience {
			t.Errorf("%s, told to wait no longer: %v after %v", name, err, time.Since(began))
		}
		released := make(chan error, 1)
		time.AfterFunc(5*pause, func() { released <- closeAll(held) })
		files, err := Open("v0", Options{Queues: 1, Mode: Native})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(<-released, closeAll(files)); err != nil {
			t.Error(err)
		}
	}
}

// Opened and closed again and again, by whomever, nothing is left at the interface.
func TestNothingIsLeft(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	socket := netdevtest.Socket(t)
	index, _, err := netdev.Ethernet(socket, "v0")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		files, err := Open("v0", Options{Queues: 64, Mode: []Mode{"", Native, Generic}[n%3]})
		if err != nil {
			t.Fatal(err)
		}
		if id, generic, err := attached(index); id == 0 || generic != (n%3 == 2) || err != nil {
			t.Fatalf("program %d, generic %v, %v", id, generic, err)
		}
		if n%2 == 0 {
			err = closeAll(files)
		} else {
			var i netdev.Interface
			if i, err = New(files, func() ([]*os.File, error) { return nil, unix.ENODEV }); err == nil {
				err = i.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if id, _, err := attached(index); id != 0 || err != nil {
			t.Fatalf("program %d is left, %v", id, err)
		}
	}
}
