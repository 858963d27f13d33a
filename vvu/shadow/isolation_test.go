package shadow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
	"vvufwd/vvu/vvutest"
)

// secret is what an app VM's RAM is full of.
var secret = []byte("the app VM's RAM and no one else's business")

// fill fills what an app VM has not in use yet with the secret.
func fill(ram *vvutest.RAM) {
	for at := 0; at < len(ram.Bytes); at += 64 {
		copy(ram.Bytes[at:at+64], secret)
	}
}

// shown is all that a driver VM can read of the device, by messages and by mapping.
func shown(t *testing.T, monitor string) (all []byte, files []unix.Stat_t) {
	t.Helper()
	c, err := vfiousertest.Dial(monitor)
	must(t, err)
	defer c.Close()
	for region := range vfiouser.RegionConfig + 1 {
		reply, err := c.RegionInfo(region, 4096)
		must(t, err)
		if reply.Errno != 0 || len(reply.Payload) < 32 {
			t.Fatalf("region %d: %v", region, reply.Errno)
		}
		size := binary.LittleEndian.Uint64(reply.Payload[16:])
		for _, fd := range reply.FDs {
			var st unix.Stat_t
			must(t, unix.Fstat(fd, &st))
			files = append(files, st)
			b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED) // all of the file, whatever is to be mapped
			must(t, err)
			all = append(all, b...)
			must(t, unix.Munmap(b))
			unix.Close(fd)
		}
		for at := uint64(0); at < min(size, 32<<20); at += 4096 { // of the memory's BAR what lies beyond the region, too
			var page [4096]byte
			if c.Read(region, at, page[:min(4096, size-at)]) == nil {
				all = append(all, page[:]...)
			}
		}
	}
	return all, files
}

// The driver VM can read the frames that are on their way, and nothing else of the app VM: its RAM is full
// of a secret, of which not one copy can be found. The file that it can map is the region, of its size, sealed.
func TestNothingButFramesIsShown(t *testing.T) {
	r := newRig(t, rigConfig{})
	fill(r.ram)
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	for k := range 300 { // around the rings
		exchange(t, app, d, k)
	}
	frames := readRegion(t, r)
	if !bytes.Contains(frames, frame(599)[:64]) {
		t.Error("not even a frame that was sent can be found: what is looked at is not the region")
	}
	if bytes.Contains(frames, secret[:16]) {
		t.Error("the region has something of the app VM's RAM")
	}
	d.stop()
	eventually(t, "the end of the session", func() bool { return r.shadow.Ports()[0].State() == virtionet.StateIdle })
	all, files := shown(t, r.monitor)
	if bytes.Contains(all, secret[:16]) {
		t.Error("the device shows something of the app VM's RAM")
	}
	own, err := r.memory.Dup()
	must(t, err)
	defer own.Close()
	var region unix.Stat_t
	must(t, unix.Fstat(int(own.Fd()), &region))
	if len(files) != 1 || files[0].Ino != region.Ino || files[0].Dev != region.Dev || files[0].Size != region.Size {
		t.Errorf("the device hands out %+v, want one file, the region %+v", files, region)
	}
}

// readRegion is what is in the shadow region.
func readRegion(t *testing.T, r *rig) []byte {
	t.Helper()
	f, err := r.memory.Dup()
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer unix.Munmap(b)
	return bytes.Clone(b)
}

// What one app VM has sent and received is gone before the next one has a session, whoever drives the
// device.
func TestNothingIsLeftForTheNextAppVM(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	for k := range 20 {
		exchange(t, app, d, k)
	}
	must(t, app.Halt())
	eventually(t, "the end of the session", func() bool { return r.shadow.Ports()[0].State() == virtionet.StateIdle })
	eventually(t, "an empty region", func() bool { return len(bytes.Trim(readRegion(t, r), "\x00")) == 0 })

	r.boot(style)
	r.served(d)
	if left := readRegion(t, r); bytes.Contains(left, frame(1)[:64]) || bytes.Contains(left, frame(0)[:64]) {
		t.Error("the next app VM's region has frames of the last one")
	}
}

// No process but ours has the app VM's memory: whoever is given descriptors by the device gets the region.
func TestMappings(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	r.boot(style)
	r.served(d)
	var ram, region unix.Stat_t
	must(t, unix.Fstat(r.ram.FD, &ram))
	own, err := r.memory.Dup()
	must(t, err)
	defer own.Close()
	must(t, unix.Fstat(int(own.Fd()), &region))
	maps, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	count := func(st unix.Stat_t) int { return bytes.Count(maps, fmt.Appendf(nil, " %d ", st.Ino)) }
	// The app VM in this process has its RAM mapped whole, vvudev each of its regions, and the driver VM,
	// which is in this process too, nothing of it: it has the region, as vvudev has.
	if n := count(ram); n != 1+len(vvutest.Regions()) {
		t.Errorf("the app VM's RAM is mapped %d times, want %d", n, 1+len(vvutest.Regions()))
	}
	if n := count(region); n != 2 {
		t.Errorf("the region is mapped %d times, want 2", n)
	}
}
