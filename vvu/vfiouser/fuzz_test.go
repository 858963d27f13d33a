package vfiouser

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// FuzzSession feeds a session with an arbitrary stream after a good handshake.
// It must not panic, must answer whole messages only, and must close everything.
func FuzzSession(f *testing.F) {
	msg := func(cmd Command, flags uint32, payload ...byte) []byte {
		b := make([]byte, headerSize)
		header{ID: 1, Command: cmd, Size: uint32(headerSize + len(payload)), Flags: flags}.put(b)
		return append(b, payload...)
	}
	le := binary.LittleEndian
	u32 := func(v ...uint32) (b []byte) {
		for _, x := range v {
			b = le.AppendUint32(b, x)
		}
		return b
	}
	seeds := [][]byte{
		msg(CmdDMAMap, 0, u32(32, 3, 0, 0, 0x1000, 0, 0x2000, 0)...),
		msg(CmdDMAUnmap, 0, u32(24, 0, 0, 0, ^uint32(0), ^uint32(0))...),
		msg(CmdDMAUnmap, 0, u32(24, 2, 0, 0, 0, 0)...),
		msg(CmdGetInfo, 0, u32(16, 0, 0, 0)...),
		msg(CmdGetRegionInfo, 0, u32(32, 0, 2, 0, 0, 0, 0, 0)...),
		msg(CmdGetRegionInfo, 0, u32(64, 0, 2, 0, 0, 0, 0, 0)...),
		msg(CmdGetIRQInfo, 0, u32(16, 0, 2, 0)...),
		msg(CmdSetIRQs, 0, u32(20, 0x24, 2, 0, 1)...),
		msg(CmdSetIRQs, 0, u32(20, 0x21, 2, 0, 0)...),
		msg(CmdSetIRQs, 0, append(u32(20, 0x22, 2, 0, 2), 1, 0)...),
		msg(CmdRegionRead, 0, u32(0, 0, 7, 256)...),
		msg(CmdRegionWrite, 0, u32(0x10, 0, 7, 4, ^uint32(0))...),
		msg(CmdRegionWrite, flagNoReply, u32(0x10, 0, 0, 4, 1)...),
		msg(CmdReset, 0),
		msg(CmdGetRegionIOFDs, 0, u32(16, 0, 0, 0)...),
	}
	all := []byte{}
	for _, s := range seeds {
		f.Add(s)
		all = append(all, s...)
	}
	f.Add(all)
	dev := newFakeDevice(f)
	under := NewServer(dev, zap.NewNop())
	f.Cleanup(under.events.Close)
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 1<<16 {
			return
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		server, client := unixConn(t, pair[0]), unixConn(t, pair[1])
		defer client.Close()
		done := make(chan error, 1)
		go func() {
			done <- newSession(under, server).serve()
			server.Close()
		}()
		replies := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(client)
			replies <- b
		}()
		hello := msg(CmdVersion, 0, append(make([]byte, versionHead), "{}\x00"...)...)
		client.SetDeadline(time.Now().Add(10 * time.Second))
		client.Write(append(hello, stream...)) // fails when the session ends early
		client.CloseWrite()
		<-done
		for b := <-replies; len(b) > 0; {
			if len(b) < headerSize {
				t.Fatalf("%d stray bytes", len(b))
			}
			h := parseHeader((*[headerSize]byte)(b))
			if h.Flags&flagTypeMask != flagReply || h.Size < headerSize || int(h.Size) > len(b) {
				t.Fatalf("bad reply header %+v", h)
			}
			if h.Flags&flagError != 0 && (h.Size != headerSize || h.Errno == 0) {
				t.Fatalf("bad error reply %+v", h)
			}
			b = b[h.Size:]
		}
		dev.take()
	})
}

// FuzzVersion: a VERSION payload is answered or refused, never both.
func FuzzVersion(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00{\"capabilities\":{\"max_msg_fds\":8}}\x00"))
	f.Add([]byte("\x00\x00\x05\x00"))
	f.Add([]byte("\x01\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, p []byte) {
		out, err := negotiate(p)
		if (out == nil) == (err == nil) {
			t.Fatalf("reply %q with error %v", out, err)
		}
		if err == nil && (len(out) < versionHead+1 || out[len(out)-1] != 0 || binary.LittleEndian.Uint32(out) != 0) {
			t.Fatalf("reply %q", out)
		}
	})
}

func unixConn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}
