package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestCapturesAreRead has those programs read captures that people read them with: tshark, which is Wireshark without its window, a
// file, and tcpdump what passes while it does.
func TestCapturesAreRead(t *testing.T) {
	l := newLab(t)
	o := tools.Options{BuildDir: l.build, Progress: func(text string) { l.Log(text) }}
	tshark, err := tools.DebianProgram(l.ctx, o, "tshark")
	l.must(err)
	tcpdump, err := tools.DebianProgram(l.ctx, o, "tcpdump")
	l.must(err)
	file := filepath.Join(l.out, "a.pcapng")

	l.step("a file and a reader", func(l *lab) {
		p := l.newCaptured(file)
		reader := l.readLive(p.live, tcpdump)
		p.passes(l, 0, query(1))
		p.passes(l, 1, datagram(150))
		p.passes(l, 0, unknownKind(60))
		p.switchCaptures(l, unix.SIGUSR2, "the capture is off")
		p.passes(l, 0, query(2))
		p.switchCaptures(l, unix.SIGUSR1, "the capture is on")
		p.passes(l, 0, query(3))
		l.stop(p.forwarder)

		port := "vhost-user:" + p.sockets[0]
		l.dissects(tshark, file, []string{
			port + "|0x00000001|60|60|eth:ethertype:arp|192.0.2.1",
			port + "|0x00000002|192|100|eth:ethertype:ip:udp:data|",
			port + "|0x00000001|60|60|eth:ethertype:arp|192.0.2.3",
		})
		want := []string{
			"length 60: Request who-has 192.0.2.1 ",
			"length 192: 192.0.2.2.1000 > 192.0.2.1.2000: UDP, length 150",
			"(0x88b5), length 60:",
			"length 60: Request who-has 192.0.2.3 ",
		}
		lines := reader.lines(l)
		for i, line := range lines {
			if i >= len(want) || !strings.Contains(line, want[i]) {
				l.Errorf("tcpdump prints in line %d: %s", i, line)
			}
		}
		if len(lines) != len(want) {
			l.Errorf("tcpdump prints %d lines, want %d", len(lines), len(want))
		}
	})

	l.step("a disk that gets full", func(l *lab) {
		p := l.newCaptured(file)
		const room = 2 << 10 // bytes, whole sectors
		l.must(unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: room, Max: room}, nil))
		const frames = 40
		for n := range frames {
			p.passes(l, 0, query(byte(n)))
		}
		l.expect(p.forwarder, "the capture ends early")
		l.stop(p.forwarder)
		info, err := os.Stat(file)
		l.must(err)
		got := l.dissect(tshark, file)
		if info.Size() != room || len(got) < 5 || len(got) >= frames {
			l.Errorf("%d frames in %d bytes, want some of %d in %d", len(got), info.Size(), frames, room)
		}
		for i, line := range got {
			if want := fmt.Sprintf("|192.0.2.%d", i); !strings.HasSuffix(line, want) {
				l.Errorf("frame %d is %s", i, line)
			}
		}
		// A file that was cut short is what tshark complains of.
		l.must(os.Truncate(file, room-4))
		if out, err := run(l, tshark, "-r", file); err == nil {
			l.Errorf("tshark finds nothing wrong with half a file: %s", out)
		}
	})
}

// captured is a vvufwd between two guests without virtual machines, the first of whose ports is captured in part to a file, and
// the other to a socket.
type captured struct {
	*forwarder
	guests  [2]*vvutest.App
	sockets [2]string
	live    string
}

func (l *lab) newCaptured(file string) *captured {
	l.Helper()
	dir, err := os.MkdirTemp(l.run, "")
	l.must(err)
	p := &captured{sockets: [2]string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}, live: filepath.Join(dir, "live")}
	p.forwarder = l.forwarder(p.sockets[:], "--capture", p.sockets[0]+"="+file+",snaplen=100,filter=arp or udp", "--capture", p.sockets[1]+"=unix:"+p.live)
	l.expect(p.forwarder, "forwarding")
	for i, socket := range p.sockets {
		p.guests[i], err = vvutest.Boot(vvutest.NewRAM(l.T), socket, vvutest.AppConfig{Style: vhostuser.QEMU})
		l.must(err)
		l.must(p.guests[i].Connect())
		l.must(p.guests[i].Start())
		l.atEnd(func() { p.guests[i].Halt() })
	}
	return p
}

// passes sends a frame from a guest, and waits until the other has it.
func (p *captured) passes(l *lab, from int, frame []byte) {
	l.Helper()
	l.must(p.guests[from].Send(frame))
	got, err := p.guests[1-from].Receive()
	l.must(err)
	if !slices.Equal(got, frame) {
		l.Fatalf("% x arrives, want % x", got, frame)
	}
}

// switchCaptures sends vvufwd a signal, upon which it says what it does for each of its captures.
func (p *captured) switchCaptures(l *lab, signal unix.Signal, says string) {
	l.Helper()
	p.forget()
	l.must(unix.Kill(p.PID(), signal))
	for range p.guests {
		l.expect(p.forwarder, says)
	}
}

// liveReader is a program that reads a capture while it is made.
type liveReader struct {
	*exec.Cmd
	printed, complained string // files
}

// readLive starts tcpdump at a socket, and waits until frames are captured for it.
func (l *lab) readLive(socket string, tcpdump []string) *liveReader {
	l.Helper()
	conn, err := net.Dial("unix", socket)
	l.must(err)
	defer conn.Close()
	r := &liveReader{
		Cmd:     exec.CommandContext(l.ctx, tcpdump[0], append(tcpdump[1:], "-r", "-", "-n", "-e", "-t", "-Z", "root")...), // Debian's gives up root for a user that may not be here
		printed: filepath.Join(l.out, "tcpdump.out"), complained: filepath.Join(l.out, "tcpdump.err"),
	}
	in, err := conn.(*net.UnixConn).File()
	l.must(err)
	defer in.Close()
	out, err := os.Create(r.printed)
	l.must(err)
	defer out.Close()
	complaints, err := os.Create(r.complained)
	l.must(err)
	defer complaints.Close()
	r.Stdin, r.Stdout, r.Stderr = in, out, complaints
	l.must(r.Start())
	l.eventually(func() error { // its first words come when it has read what the interface is
		text, err := os.ReadFile(r.complained)
		if err == nil && !strings.Contains(string(text), "EN10MB") {
			err = fmt.Errorf("tcpdump reads nothing: %s", text)
		}
		return err
	})
	return r
}

// lines waits until the program has come to the end, and returns what it has printed. It must not have complained.
func (r *liveReader) lines(l *lab) []string {
	l.Helper()
	if err := r.Wait(); err != nil {
		l.Errorf("tcpdump: %v", err)
	}
	complaints, err := os.ReadFile(r.complained)
	l.must(err)
	if text := string(complaints); strings.Count(text, "\n") != 1 {
		l.Errorf("tcpdump says %s", text)
	}
	printed, err := os.ReadFile(r.printed)
	l.must(err)
	return slices.DeleteFunc(splitLines(string(printed)), func(line string) bool { return line[0] == '\t' }) // the bytes of unknown kinds
}

// fields are what tshark is asked for: of a frame its interface, direction, whole and captured length, layers, and whom it asks for.
var fields = []string{"frame.interface_name", "frame.packet_flags_direction", "frame.len", "frame.cap_len", "frame.protocols", "arp.dst.proto_ipv4"}

// dissect has tshark read a file, in which nothing may be wrong, and returns a line a frame.
func (l *lab) dissect(tshark []string, file string) []string {
	l.Helper()
	args := []string{"-r", file, "-n", "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := run(l, tshark, args...)
	if err != nil {
		l.Fatalf("tshark: %v\n%s", err, out)
	}
	return splitLines(out)
}

func (l *lab) dissects(tshark []string, file string, want []string) {
	l.Helper()
	if got := l.dissect(tshark, file); !slices.Equal(got, want) {
		l.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// asRoot is what tshark says to a user who should be another.
var asRoot = regexp.MustCompile(`(?m)^Running as user "root".*\n`)

// run runs a program and returns what it prints, complaints included.
func run(l *lab, program []string, args ...string) (string, error) {
	cmd := exec.CommandContext(l.ctx, program[0], append(slices.Clone(program[1:]), args...)...)
	cmd.Env = append(os.Environ(), "HOME="+l.run) // no one's own settings
	out, err := cmd.CombinedOutput()
	return asRoot.ReplaceAllString(string(out), ""), err
}

func splitLines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

var (
	station = [2]net.HardwareAddr{{0x52, 0x54, 0, 0, 7, 1}, {0x52, 0x54, 0, 0, 7, 2}}
	address = [2]net.IP{{192, 0, 2, 1}, {192, 0, 2, 2}}
)

// query is an ARP request of the first guest for the address that ends with n.
func query(n byte) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: station[0], DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: station[0], SourceProtAddress: address[0], DstHwAddress: make([]byte, 6), DstProtAddress: []byte{192, 0, 2, n},
		})
}

// datagram is one of the second guest's, with n bytes for the first.
func datagram(n int) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: address[1], DstIP: address[0]}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 2000}
	_ = udp.SetNetworkLayerForChecksum(ip) // it is one
	return serialize(&layers.Ethernet{SrcMAC: station[1], DstMAC: station[0], EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(make([]byte, n)))
}

// unknownKind is a frame of n bytes, of a kind for experiments.
func unknownKind(n int) []byte {
	return serialize(&layers.Ethernet{SrcMAC: station[0], DstMAC: station[1], EthernetType: 0x88b5}, gopacket.Payload(make([]byte, n-14)))
}

func serialize(l ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err) // a mistake above
	}
	return b.Bytes()
}
