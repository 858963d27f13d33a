package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
)

// What is written another program reads: names, times, lengths, filter, and how many were missed.
func TestPcapng(t *testing.T) {
	var file bytes.Buffer
	w := newWriter(&file)
	w.header("vvufwd 1", "vvu:0000:00:05.0", "words", "arp", 64)
	at := time.Unix(1234567890, 123456789)
	w.packet(at, false, 100, bytes.Repeat([]byte{7}, 61))
	w.packet(at.Add(time.Second), true, 60, bytes.Repeat([]byte{8}, 60))
	w.statistics(at, 12, 10)
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	text := file.Bytes()
	r, err := pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := r.Interface(0)
	if err != nil || i.Name != "vvu:0000:00:05.0" || i.Filter != "arp" || i.SnapLength != 64 || i.LinkType != layers.LinkTypeEthernet || r.SectionInfo().Application != "vvufwd 1" {
		t.Errorf("interface %+v of %+v, %v", i, r.SectionInfo(), err)
	}
	for n, want := range []gopacket.CaptureInfo{{Timestamp: at, CaptureLength: 61, Length: 100}, {Timestamp: at.Add(time.Second), CaptureLength: 60, Length: 60}} {
		data, info, err := r.ReadPacketData()
		if err != nil || !info.Timestamp.Equal(want.Timestamp) || info.CaptureLength != want.CaptureLength || info.Length != want.Length || data[0] != byte(7+n) {
			t.Errorf("frame %d: %+v, %v", n, info, err)
		}
	}
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v", err)
	}
	if i, err := r.Interface(0); err != nil || i.Statistics.PacketsReceived != 12 || i.Statistics.PacketsDropped != 10 {
		t.Errorf("statistics %+v, %v", i.Statistics, err)
	}
	// gopacket passes over the direction: option 2, 4 bytes, 1 or 2.
	for _, direction := range []byte{directionIn, directionOut} {
		if n := bytes.Count(text, []byte{2, 0, 4, 0, direction, 0, 0, 0}); n != 1 {
			t.Errorf("direction %d is there %d times", direction, n)
		}
	}
}

// frameOf is a frame with these layers.
func frameOf(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilters(t *testing.T) {
	a, b := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	eth := func(kind layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: a, DstMAC: b, EthernetType: kind}
	}
	ip := func(p layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 9, Protocol: p, SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(192, 168, 1, 2)}
	}
	ip6 := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
	frames := map[string][]byte{
		"tcp": frameOf(t, eth(layers.EthernetTypeIPv4), ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1234, DstPort: 80, DataOffset: 5}),
		"udp": frameOf(t, eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4}, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 53, DstPort: 5353}),
		"six": frameOf(t, eth(layers.EthernetTypeIPv6), ip6, &layers.TCP{SrcPort: 1234, DstPort: 443, DataOffset: 5}),
		"arp": frameOf(t, eth(layers.EthernetTypeARP), &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
			SourceHwAddress: a, SourceProtAddress: []byte{10, 0, 0, 1}, DstHwAddress: make([]byte, 6), DstProtAddress: []byte{10, 0, 0, 9},
		}),
		"cut": {1, 2, 3},
	}
	for text, want := range map[string]string{
		"tcp": "six tcp", "udp": "udp", "arp": "arp", "ip": "tcp udp", "ip6": "six", "vlan": "udp", "vlan 5": "udp", "vlan 6": "", "not tcp": "arp cut udp",
		"port 80": "tcp", "src port 80": "", "dst port 80 or arp": "arp tcp", "tcp port 443": "six", "tcp dst port 443": "six", "udp port 443": "",
		"host 10.0.0.1": "arp tcp udp", "dst host 10.0.0.9": "arp", "src host fd00::1": "six", "net 192.168.0.0/16": "tcp udp", "dst net 10.0.0.0/8": "arp",
		"ether host 02:00:00:00:00:01": "arp six tcp udp", "ether src 02:00:00:00:00:02": "", "ether dst host 02:00:00:00:00:02 and !(tcp||udp)": "arp",
		"udp+or+host+10.0.0.9": "arp udp", "vlan and not udp": "", "icmp or icmp6": "", "tcp and host 10.0.0.1 or arp": "arp tcp",
	} {
		f, err := ParseFilter(text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		var got []string
		for _, name := range []string{"arp", "cut", "six", "tcp", "udp"} {
			if f.Match(frames[name]) {
				got = append(got, name)
			}
			for n := range frames[name] { // a beginning of any length is no trouble
				f.Match(frames[name][:n])
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q passes %q, want %q", text, g, want)
		}
	}
	for text, want := range map[string]string{
		"": "ends too early", "tcp and": "ends too early", "(tcp": "not closed", "tcp udp": `"udp" is too much`, "port http": "not a port", "host example.org": "not an IP address",
		"net 10": "not a network", "ether host 1": "not an Ethernet address", "vlan 4096": "0 to 4095", "tcp[13] = 2": `"tcp[13]" is not known`, strings.Repeat("(", 60) + "arp": "more than 50 levels",
	} {
		if _, err := ParseFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if !(*Filter)(nil).Match(nil) {
		t.Error("no filter keeps frames out")
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("tcp port 80 and not (host 10.0.0.1 or vlan 5)", []byte{1, 2, 3})
	f.Add("ip6", append(make([]byte, 12), 0x86, 0xdd, 0x60))
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		dissect(data)
		if filter, err := ParseFilter(text); err == nil {
			filter.Match(data)
		}
	})
}

func TestSpecs(t *testing.T) {
	ports := []string{"tap:fd=3", "nic:0000:00:04.0", "vhost-user:/run/a.sock"}
	written := []string{"fd=3", "0000:00:04.0", "a.sock"}
	for text, want := range map[string]Spec{
		"a.sock=x":                {Port: ports[2], Path: "x", SnapLen: MaxSnapLen},
		"nic:0000:00:04.0=/tmp/x": {Port: ports[1], Path: "/tmp/x", SnapLen: MaxSnapLen},
		"0000:00:04.0=x,off":      {Port: ports[1], Path: "x", SnapLen: MaxSnapLen, Off: true},
		"tap:fd=3=x,snaplen=64":   {Port: ports[0], Path: "x", SnapLen: 64},
	} {
		if got, err := Parse(text, ports, written); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	got, err := Parse("/run/a.sock=y,snaplen=20,filter=arp or icmp", ports, written)
	if err != nil || got.Port != ports[2] || got.Filter.String() != "arp or icmp" || got.copied() != filtered {
		t.Errorf("with a filter: %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"eth0=x": "one of tap:fd=3", "0000:00:04.0=vsock:x": "want vsock:PORT", "0000:00:04.0=virtio-serial:": "want virtio-serial:NAME", "0000:00:04.0=": "want a FILE", "0000:00:04.0=x,snaplen=1": "want 14 to", "0000:00:04.0=x,on": "want snaplen=N", "0000:00:04.0=x,filter=foo": "not known",
		"a.sock=-": "standard output is for statistics", "a.sock=x,filter=arp,snaplen=64": "filter= is the last option",
	} {
		if _, err := Parse(text, ports, written); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.Symlink("x", link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "no one reads", link: "symbolic link", filepath.Join(dir, "no", "file"): "no such file"} {
		if _, err := (Spec{Path: path}).Open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// A file that another capture writes to is left to it, whatever it is called; one that was left is emptied.
func TestFileOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := Spec{Path: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.WriteString("first"); err != nil {
		t.Fatal(err)
	}
	other := filepath.Dir(path) + "/./x"
	if _, err := (Spec{Path: other}).Open(); err == nil || !strings.Contains(err.Error(), "another capture writes to") {
		t.Errorf("a second one: %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "first" {
		t.Errorf("the first has %q, %v", text, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Spec{Path: other}.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if text, err := os.ReadFile(path); len(text) != 0 {
		t.Errorf("what was left is %q, %v", text, err)
	}
}

// Where nothing can be written any more the capture ends, and says where.
func TestNamesFileThatFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(w.Fd()))
	if err := errors.Join(err, r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rec := New(Spec{Port: "p", Path: "/tmp/pipe", SnapLen: 64}, os.NewFile(uintptr(fd), "/tmp/pipe"), 1, zaptest.NewLogger(t))
	rec.Run(ctx, "test")
	if s := rec.Status(); s.On || s.Ended != "write /tmp/pipe: broken pipe" {
		t.Errorf("%+v", s)
	}
	if rec.Start(); rec.Status().On { // SIGUSR1 is for all captures
		t.Error("it is on again")
	}
}

// A reader that takes nothing does not keep the recorder from ending.
func TestStuckReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	full := os.NewFile(uintptr(fd), "pipe") // the run-time waits for it
	for {
		if n, err := unix.Write(fd, make([]byte, 512)); n < 0 || err != nil {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	rec := New(Spec{Port: "p", Path: "pipe", SnapLen: 64}, full, 1, zaptest.NewLogger(t))
	go func() {
		rec.Run(ctx, "test")
		close(ended)
	}()
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it waits for its reader")
	}
}

// A file on a full disk ends with a whole block, wherever the disk ends, and a reader gets all frames but the one that had no room, or
// the last one before it.
func TestFullDisk(t *testing.T) {
	const frames, length = 40, 100
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}()
	const block = 8 + 20 + length + 8 + 4 + 4 // head, fields, frame, flags, the options' end, length
	for room := 2000; room < 2000+block; room += 4 {
		file, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(room), Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		w := newWriter(&filed{File: file})
		w.header("test", "p", "frames", "", MaxSnapLen)
		written := 0
		for i := range frames {
			w.packet(time.Unix(int64(i), 0), false, length, bytes.Repeat([]byte{byte(i)}, length))
			if i%3 == 0 && w.flush() != nil {
				break
			}
		}
		if err := w.flush(); !errors.Is(err, unix.EFBIG) {
			t.Fatalf("%d bytes: %v", room, err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file.Name())
		if err := errors.Join(err, file.Close()); err != nil || len(text) != room {
			t.Fatalf("%d bytes of %d, %v", len(text), room, err)
		}
		r, err := pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		for {
			data, _, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil || len(data) != length || data[0] != byte(written) {
				t.Fatalf("%d bytes, frame %d: % x, %v", room, written, data, err)
			}
			written++
		}
		end := 0
		for end+leastBlock <= len(text) {
			n := int(binary.LittleEndian.Uint32(text[end+4:]))
			if n < leastBlock || end+n > len(text) || int(binary.LittleEndian.Uint32(text[end+n-4:])) != n {
				t.Fatalf("%d bytes: a block of %d at %d", room, n, end)
			}
			end += n
		}
		if end != len(text) || written < (room-200)/block-1 {
			t.Errorf("%d bytes: %d of them in whole blocks, %d frames", room, end, written)
		}
	}
}
