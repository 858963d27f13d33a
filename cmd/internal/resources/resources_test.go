package resources

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMachine(t *testing.T) {
	memory, err := Memory()
	if err != nil || memory < 64<<20 || memory > 1<<50 {
		t.Errorf("the machine has %d bytes (%v)", memory, err)
	}
	if n := Mappings(); n < 1000 {
		t.Errorf("%d mappings", n)
	}
	if n := Files(); n < 20 {
		t.Errorf("%d files", n)
	}
}

// What is said to be there can be mapped, and is not taken by asking.
func TestAddressSpace(t *testing.T) {
	space := AddressSpace()
	if space < 1<<30 {
		t.Fatalf("%d bytes of address space", space)
	}
	if !canMap(int(space - 64<<20)) {
		t.Errorf("%d bytes cannot be mapped", space)
	}
	if again := AddressSpace(); again < space-space/16 {
		t.Errorf("%d bytes, and %d when asked again", space, again)
	}
}

// A limit on the process is heeded. Asked in a process of its own: Go's heap is in the way
// of limits that come late.
func TestAddressSpaceLimited(t *testing.T) {
	const limit = 4 << 30
	if os.Getenv("RESOURCES_TEST_LIMITED") != "" {
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Fatal(err)
		}
		if space := AddressSpace(); space == 0 || space >= limit {
			t.Errorf("%d bytes of address space, limited to %d", space, limit)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAddressSpaceLimited$", "-test.v")
	cmd.Env = append(os.Environ(), "RESOURCES_TEST_LIMITED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
