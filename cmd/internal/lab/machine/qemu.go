package machine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// QEMU is how one QEMU program is run.
type QEMU struct {
	// Command is the program and the arguments that always come first.
	Command []string
	Version Version
	// Origin tells a person where this QEMU was found.
	Origin string
}

// Version is a QEMU's version without its micro part.
type Version struct{ Major, Minor int }

// VfioUser is the first version that has the vfio-user-pci device.
var VfioUser = Version{10, 1}

// SharedMemory is the first version whose machine can be given memory that an App shares.
var SharedMemory = Version{5, 0}

// AtLeast reports whether v is not older than w.
func (v Version) AtLeast(w Version) bool {
	return v.Major > w.Major || v.Major == w.Major && v.Minor >= w.Minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

var versionLine = regexp.MustCompile(`QEMU emulator version (\d+)\.(\d+)`)

// ParseVersion reads what "qemu-system-x86_64 --version" prints.
func ParseVersion(output string) (Version, error) {
	found := versionLine.FindStringSubmatch(output)
	if found == nil {
		line, _, _ := strings.Cut(output, "\n")
		return Version{}, fmt.Errorf("%q is not the version of a QEMU system emulator", line)
	}
	major, err := strconv.Atoi(found[1])
	if err != nil {
		return Version{}, err
	}
	minor, err := strconv.Atoi(found[2])
	if err != nil {
		return Version{}, err
	}
	return Version{Major: major, Minor: minor}, nil
}

// quote doubles commas, which part the fields of a QEMU option.
func quote(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// listening returns the fields that make a socket character device listen without waiting, as this version spells them.
func (v Version) listening() string {
	if v.AtLeast(Version{6, 0}) {
		return "server=on,wait=off"
	}
	return "server,nowait"
}

// awaiting returns the fields that make a socket character device listen and wait for its first client, as this version spells them.
func (v Version) awaiting() string {
	if v.AtLeast(Version{6, 0}) {
		return "server=on,wait=on"
	}
	return "server,wait"
}

// reconnecting returns the field that makes a socket character device connect again, a second after it lost its server, as this
// version spells it.
func (v Version) reconnecting() string {
	if v.AtLeast(Version{9, 2}) {
		return "reconnect-ms=1000"
	}
	return "reconnect=1"
}
