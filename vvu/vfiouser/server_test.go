package vfiouser_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
)

func dial(t *testing.T, path string) *vfiousertest.Client {
	t.Helper()
	c, err := vfiousertest.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestQEMUOrder sends what QEMU 11 sends from plugging the device in to the exit
// of the virtual machine, in its order.
func TestQEMUOrder(t *testing.T) {
	dev := vfiouser.NewFakeDevice(t)
	path := vfiouser.ServeForTest(t, dev)
	before := vfiouser.OpenFDs(t)
	c := dial(t, path)
	le := binary.LittleEndian

	// Guest RAM with its file, in two parts around the hole, and ROM without one.
	ram := vfiouser.Memfd(t, 4<<20)
	must(t, c.MapDMA(0, 0xa0000, ram, 0))
	must(t, c.MapDMA(0xc0000, 0x20000, -1, 0))
	must(t, c.MapDMA(0x100000, 0x300000, ram, 0x100000))

	r, err := c.Do(vfiouser.CmdGetInfo, le.AppendUint32(nil, 16), nil...)
	must(t, err)
	if r.Errno != unix.EINVAL {
		t.Errorf("short DEVICE_GET_INFO: errno %v, want EINVAL", r.Errno)
	}
	r, err = c.Do(vfiouser.CmdGetInfo, append(le.AppendUint32(nil, 16), make([]byte, 12)...))
	must(t, err)
	if flags, regions, irqs := le.Uint32(r.Payload[4:]), le.Uint32(r.Payload[8:]), le.Uint32(r.Payload[12:]); flags != 3 || regions != 9 || irqs != 5 {
		t.Errorf("device info: flags %#x, %d regions, %d interrupts", flags, regions, irqs)
	}

	for _, index := range []int{0, 1, 2, 3, 4, 5, 7} {
		r, err := c.RegionInfo(index, 32)
		must(t, err)
		argsz, flags, size := le.Uint32(r.Payload), le.Uint32(r.Payload[4:]), le.Uint64(r.Payload[16:])
		want := dev.Region(index)
		if size != want.Size {
			t.Errorf("region %d: size %#x, want %#x", index, size, want.Size)
		}
		if index != 2 {
			if argsz != 32 || len(r.FDs) != 0 || len(r.Payload) != 32 {
				t.Errorf("region %d: argsz %d, %d descriptors", index, argsz, len(r.FDs))
			}
			continue
		}
		if argsz != 64 || flags != 0xf || le.Uint32(r.Payload[12:]) != 32 || len(r.Payload) != 32 {
			t.Errorf("region 2, first time: argsz %d, flags %#x, payload %x", argsz, flags, r.Payload)
		}
		if len(r.FDs) != 1 {
			t.Fatalf("region 2: %d descriptors, want 1", len(r.FDs))
		}
		unix.Close(r.FDs[0])
		r, err = c.RegionInfo(index, argsz)
		must(t, err)
		if len(r.Payload) != 64 || len(r.FDs) != 1 {
			t.Fatalf("region 2, second time: %d bytes, %d descriptors", len(r.Payload), len(r.FDs))
		}
		shift, area, length := le.Uint64(r.Payload[24:]), le.Uint64(r.Payload[48:]), le.Uint64(r.Payload[56:])
		if id, n := le.Uint16(r.Payload[32:]), le.Uint32(r.Payload[40:]); id != 1 || n != 1 {
			t.Errorf("region 2: capability %d with %d areas", id, n)
		}
		// The client maps the area from the file as the protocol says.
		m, err := unix.Mmap(r.FDs[0], int64(shift+area), int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		unix.Close(r.FDs[0])
		must(t, err)
		copy(m, "written through the BAR")
		unix.Munmap(m)
		got := make([]byte, 23)
		if _, err := unix.Pread(dev.RAM(), got, 0); err != nil || string(got) != "written through the BAR" {
			t.Errorf("start of the file behind BAR 2 is %q (%v)", got, err)
		}
	}

	for index, want := range []uint32{0, 0, 20, 0, 0} {
		r, err := c.Do(vfiouser.CmdGetIRQInfo, append(append(le.AppendUint32(nil, 16), 0, 0, 0, 0), append(le.AppendUint32(nil, uint32(index)), 0, 0, 0, 0)...))
		must(t, err)
		if r.Errno != 0 || le.Uint32(r.Payload[12:]) != want {
			t.Errorf("interrupt index %d: errno %v, payload %x", index, r.Errno, r.Payload)
		}
	}

	config := make([]byte, 4096)
	must(t, c.Read(vfiouser.RegionConfig, 0, config))
	if le.Uint16(config) != 0x1af4 || le.Uint16(config[2:]) != 0x1058 {
		t.Errorf("configuration space starts with %x", config[:16])
	}
	must(t, c.Write(vfiouser.RegionConfig, 0x18, []byte{0xff, 0xff, 0xff, 0xff}))
	must(t, c.Read(vfiouser.RegionConfig, 0x18, config[:4]))
	if got := le.Uint32(config); got != 0xffe0000c {
		t.Errorf("sizing BAR 2 gives %#x, want 0xffe0000c", got)
	}
	must(t, c.Reset())

	// The firmware moves memory around.
	must(t, c.UnmapDMA(0xc0000, 0x20000))
	must(t, c.MapDMA(0xc0000, 0x20000, ram, 0xc0000))
	must(t, c.UnmapDMA(0, 1<<63)) // nothing like a single map
	must(t, c.UnmapDMA(0x7000_0000_0000, 0x1000))
	must(t, c.MapDMA(0, 0x400000, ram, 0))
	view, ok := dev.Host().Memory().View(0x123000, 16)
	if !ok {
		t.Fatal("guest memory is not mapped")
	}
	if _, err := unix.Pwrite(ram, []byte("guest memory"), 0x123000); err != nil || string(view[:12]) != "guest memory" {
		t.Errorf("guest memory reads %q (%v)", view[:12], err)
	}

	// MSI-X: one vector without eventfd, then two, then twenty in two messages.
	host := dev.Host()
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 0, 1))
	e := make([]int, 20)
	for i := range e {
		e[i] = vfiouser.EventFD(t)
	}
	must(t, c.SetIRQs(vfiousertest.IRQDisable, 0, 0))
	host.Signal(1) // falls into the gap
	if !host.Pending(1) || host.Pending(0) {
		t.Error("a vector without eventfd is not pending after a signal")
	}
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 0, 2, e[:2]...))
	if n := vfiouser.Signalled(e[1]); n != 1 || host.Pending(1) {
		t.Errorf("latched interrupt was raised %d times, pending %v", n, host.Pending(1))
	}
	must(t, c.SetIRQs(vfiousertest.IRQDisable, 0, 0))
	host.Signal(0)
	host.Signal(0)
	host.Signal(17)
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 0, 16, e[:16]...))
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 16, 4, e[16:]...))
	for i, fd := range e {
		want := 0
		if i == 0 || i == 17 {
			want = 1
		}
		if n := vfiouser.Signalled(fd); n != want {
			t.Errorf("vector %d raised %d times, want %d", i, n, want)
		}
	}
	host.Signal(19)
	host.Signal(20) // not a vector
	if n := vfiouser.Signalled(e[19]); n != 1 {
		t.Errorf("vector 19 raised %d times", n)
	}

	// The guest reboots.
	must(t, c.SetIRQs(vfiousertest.IRQDisable, 0, 0))
	host.Signal(3)
	dev.Take()
	must(t, c.Reset())
	must(t, c.Reset())
	if host.Pending(3) {
		t.Error("a latched interrupt survives the reset")
	}
	if got := dev.Take(); !slices.Equal(got, []string{"reset", "reset"}) {
		t.Errorf("device saw %q", got)
	}

	// QEMU exits.
	must(t, c.SetIRQs(vfiousertest.IRQEventFD, 0, 2, e[:2]...))
	must(t, c.UnmapDMA(0, 0x400000))
	must(t, c.Close())
	vfiouser.Eventually(t, "detach", func() bool { return slices.Contains(dev.Take(), "detach") })
	for _, fd := range e { // those of the test
		unix.Close(fd)
	}
	vfiouser.Eventually(t, "closing of all descriptors", func() bool { return vfiouser.OpenFDs(t) <= before+1 }) // ram

	// The next one is served.
	c = dial(t, path)
	must(t, c.Reset())
}

func TestErrorReplies(t *testing.T) {
	dev := vfiouser.NewFakeDevice(t)
	c := dial(t, vfiouser.ServeForTest(t, dev))
	ram := vfiouser.Memfd(t, 1<<20)
	must(t, c.MapDMA(0x10000, 0x10000, ram, 0))
	pipe := make([]int, 2)
	must(t, unix.Pipe(pipe))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	before := vfiouser.OpenFDs(t)
	dev.Take()
	big := uint64(1) << 63
	for _, tc := range []struct {
		name    string
		cmd     vfiouser.Command
		payload []byte
		fds     []int
		want    unix.Errno
	}{
		{"region io fds", vfiouser.CmdGetRegionIOFDs, make([]byte, 16), nil, unix.EOPNOTSUPP},
		{"write multi", vfiouser.CmdWriteMulti, make([]byte, 32), nil, unix.EOPNOTSUPP},
		{"feature", vfiouser.CmdFeature, make([]byte, 8), nil, unix.EOPNOTSUPP},
		{"unknown", 999, nil, []int{ram, pipe[0]}, unix.EOPNOTSUPP},
		{"second version", vfiouser.CmdVersion, []byte(vfiousertest.QEMUVersion), nil, unix.EINVAL},
		{"short map", vfiouser.CmdDMAMap, make([]byte, 31), nil, unix.EINVAL},
		{"empty map", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0, 0, 0), nil, unix.EINVAL},
		{"wrapping map", vfiouser.CmdDMAMap, vfiousertest.DMAMap(^uint64(0)-10, 4096, 0), nil, unix.EINVAL},
		{"map twice", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0x1f000, 0x2000, 0), []int{ram}, unix.EEXIST},
		{"map around", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0, 0x40000, 0), []int{ram}, unix.EEXIST},
		{"map past the file", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0x80000, 0x1000, 1<<20), []int{ram}, unix.EINVAL},
		{"map with wrapping offset", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0x80000, 0x2000, ^uint64(0)-0xfff), []int{ram}, unix.EINVAL},
		{"map of a pipe", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0x80000, 0x1000, 0), pipe[:1], unix.EINVAL},
		{"map with two files", vfiouser.CmdDMAMap, vfiousertest.DMAMap(0x80000, 0x1000, 0), []int{ram, ram}, unix.EINVAL},
		{"short unmap", vfiouser.CmdDMAUnmap, make([]byte, 23), nil, unix.EINVAL},
		{"empty unmap", vfiouser.CmdDMAUnmap, vfiousertest.DMAUnmap(0, 0x10000, 0), nil, unix.EINVAL},
		{"unmap with bitmap", vfiouser.CmdDMAUnmap, vfiousertest.DMAUnmap(1, 0x10000, 0x10000), nil, unix.EOPNOTSUPP},
		{"region 9", vfiouser.CmdGetRegionInfo, append([]byte{32, 0, 0, 0, 0, 0, 0, 0, 9}, make([]byte, 23)...), nil, unix.EINVAL},
		{"argsz 0", vfiouser.CmdGetRegionInfo, make([]byte, 32), nil, unix.EINVAL},
		{"irq index 5", vfiouser.CmdGetIRQInfo, append([]byte{16, 0, 0, 0, 0, 0, 0, 0, 5}, make([]byte, 7)...), nil, unix.EINVAL},
		{"read past the end", vfiouser.CmdRegionRead, vfiousertest.Access(0, 4090, 8), nil, unix.EINVAL},
		{"read far away", vfiouser.CmdRegionRead, vfiousertest.Access(0, big, 8), nil, unix.EINVAL},
		{"read of nothing", vfiouser.CmdRegionRead, vfiousertest.Access(0, 0, 0), nil, unix.EINVAL},
		{"read of everything", vfiouser.CmdRegionRead, vfiousertest.Access(2, 0, 1<<20+1), nil, unix.EINVAL},
		{"read without region", vfiouser.CmdRegionRead, vfiousertest.Access(4, 0, 4), nil, unix.EINVAL},
		{"read of region 9", vfiouser.CmdRegionRead, vfiousertest.Access(9, 0, 4), nil, unix.EINVAL},
		{"write without data", vfiouser.CmdRegionWrite, vfiousertest.Access(0, 0, 4), nil, unix.EINVAL},
		{"too many vectors", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x24, 2, 20, 1), []int{ram}, unix.EINVAL},
		{"vectors wrap", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x24, 2, -1, 2), nil, unix.EINVAL},
		{"fewer eventfds", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x24, 2, 0, 3), []int{ram, ram}, unix.EINVAL},
		{"mask", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x09, 2, 0, 1), nil, unix.EINVAL},
		{"no data kind", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x20, 2, 0, 1), nil, unix.EINVAL},
		{"bools missing", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x22, 2, 0, 1), nil, unix.EINVAL},
		{"INTx", vfiouser.CmdSetIRQs, vfiousertest.IRQSet(0x24, 0, 0, 1), []int{ram}, unix.EINVAL},
	} {
		r, err := c.Do(tc.cmd, tc.payload, tc.fds...)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if r.Errno != tc.want || len(r.Payload) != 0 {
			t.Errorf("%s: errno %v with %d bytes, want %v", tc.name, r.Errno, len(r.Payload), tc.want)
		}
	}
	must(t, c.Write(vfiouser.RegionROM, 0, []byte{1})) // read-only: gone without an error
	if got := dev.Take(); len(got) != 0 {
		t.Errorf("refused messages reached the device: %q", got)
	}
	// Fewer are no leak: those of an earlier test may have been on their way out.
	vfiouser.Eventually(t, "closing of what refused messages brought", func() bool { return vfiouser.OpenFDs(t) <= before })
}

// TestFatal checks that a client whose stream cannot be trusted any more is
// dropped, and the next one served.
func TestFatal(t *testing.T) {
	path := vfiouser.ServeForTest(t, vfiouser.NewFakeDevice(t))
	raw := func(b []byte, fds ...int) func(*testing.T, *net.UnixConn) {
		return func(t *testing.T, conn *net.UnixConn) {
			n, _, err := conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
			must(t, err)
			if _, err := conn.Write(b[n:]); err != nil && !errors.Is(err, unix.EPIPE) {
				t.Fatal(err)
			}
		}
	}
	head := func(cmd vfiouser.Command, size, flags uint32) []byte {
		le := binary.LittleEndian
		b := le.AppendUint16([]byte{1, 0}, uint16(cmd))
		return append(le.AppendUint32(le.AppendUint32(b, size), flags), 0, 0, 0, 0)
	}
	hello := append(head(vfiouser.CmdVersion, 16+4, 0), 0, 0, 0, 0)
	many := make([]int, 17)
	for i := range many {
		many[i] = int(vfiouser.EventFD(t))
	}
	before := vfiouser.OpenFDs(t)
	for name, send := range map[string]func(*testing.T, *net.UnixConn){
		"no version first":     raw(head(vfiouser.CmdReset, 16, 0)),
		"version 1":            raw(append(head(vfiouser.CmdVersion, 20, 0), 1, 0, 0, 0)),
		"version too short":    raw(append(head(vfiouser.CmdVersion, 18, 0), 0, 0)),
		"version is not JSON":  raw(append(append(head(vfiouser.CmdVersion, 23, 0), 0, 0, 0, 0), "{]\x00"...)),
		"size 15":              raw(append(hello, head(vfiouser.CmdReset, 15, 0)...)),
		"size 4 GiB":           raw(append(hello, head(vfiouser.CmdReset, 1<<32-1, 0)...)),
		"a reply":              raw(append(hello, head(vfiouser.CmdReset, 16, 1)...)),
		"too many descriptors": raw(head(vfiouser.CmdReset, 16, 0), many...),
		"cut header": func(t *testing.T, conn *net.UnixConn) {
			raw(hello[:7], many[:2]...)(t, conn)
			must(t, conn.CloseWrite())
		},
		"cut payload": func(t *testing.T, conn *net.UnixConn) {
			raw(append(hello, head(vfiouser.CmdGetInfo, 32, 0)...), many[:2]...)(t, conn)
			must(t, conn.CloseWrite())
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
			must(t, err)
			defer conn.Close()
			send(t, conn)
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("connection ends with %v", err)
			}
		})
	}
	c := dial(t, path)
	must(t, c.Reset())
	must(t, c.Close())
	vfiouser.Eventually(t, "closing of all descriptors", func() bool { return vfiouser.OpenFDs(t) <= before })
}

// TestStream sends messages in pieces and several at once, and some that want no
// reply: descriptors must stay with their message.
func TestStream(t *testing.T) {
	dev := vfiouser.NewFakeDevice(t)
	c := dial(t, vfiouser.ServeForTest(t, dev))
	one, two := vfiouser.Memfd(t, 4096), vfiouser.Memfd(t, 4096)
	must(t, c.Send(vfiouser.CmdDMAMap, 0x10, vfiousertest.DMAMap(0x1000, 0x1000, 0), one))
	must(t, c.Send(vfiouser.CmdDMAMap, 0x10, vfiousertest.DMAMap(0x5000, 0x1000, 0)))
	must(t, c.Send(vfiouser.CmdDMAMap, 0x10, vfiousertest.DMAMap(0x1000, 0x1000, 0), one)) // refused, silently
	must(t, c.Send(vfiouser.CmdDMAMap, 0x10, vfiousertest.DMAMap(0x2000, 0x1000, 0), two))
	must(t, c.Reset())
	for addr, fd := range map[uint64]int{0x1000: one, 0x2000: two} {
		_, err := unix.Pwrite(fd, []byte{byte(addr >> 12)}, 0)
		must(t, err)
	}
	table := dev.Host().Memory()
	for _, addr := range []uint64{0x1000, 0x2000} {
		if v, ok := table.View(vfiouser.GPA(addr), 1); !ok || v[0] != byte(addr>>12) {
			t.Errorf("%#x is mapped to the wrong file: %v %x", addr, ok, v)
		}
	}
	if _, ok := table.View(0x5000, 1); ok {
		t.Error("a map without a file shows memory")
	}
	// Byte by byte.
	msg := []byte{7, 0, byte(vfiouser.CmdReset), 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for i := range msg {
		_, err := c.Conn.Write(msg[i : i+1])
		must(t, err)
	}
	var reply [16]byte
	if _, err := io.ReadFull(c.Conn, reply[:]); err != nil || reply[0] != 7 || reply[8] != 1 {
		t.Errorf("reply %x (%v)", reply, err)
	}
}
