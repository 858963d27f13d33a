package socket

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// Only files that are in memory are mapped: of another the front-end may be the one
// who provides the pages, and then it could stop the forwarder for ever.
func TestMapsOnlyFilesInMemory(t *testing.T) {
	region := vhostuser.MemoryRegion{Size: 4096}
	memfd, err := unix.MemfdCreate("ram", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	shm, err := os.CreateTemp("/dev/shm", "ram")
	if err != nil {
		t.Fatal(err)
	}
	defer shm.Close()
	os.Remove(shm.Name())
	for name, fd := range map[string]int{"memfd": memfd, "tmpfs": int(shm.Fd())} {
		if err := unix.Ftruncate(fd, 4096); err != nil {
			t.Fatal(err)
		}
		_, whole, err := mapRegion(fd, region)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unix.Munmap(whole)
	}
	unix.Close(memfd)
	other, err := os.Open("/proc/self/auxv")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, _, err := mapRegion(int(other.Fd()), region); err == nil || !strings.Contains(err.Error(), "not in memory") {
		t.Errorf("a file of procfs: error %v, want that it is not in memory", err)
	}
}
