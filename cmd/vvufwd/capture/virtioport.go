package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// virtioPorts is where udev names virtio-serial ports. In a machine without it, as that of which vvufwd is /init, sysfs
// knows the names.
const virtioPorts = "/dev/virtio-ports/"

// portsClass is where sysfs does.
var portsClass = "/sys/class/virtio-ports"

// appears is how long a port may take to appear once its driver is loaded.
const appears = 2 * time.Second

// resolve finds the device of a virtio-serial port. Other paths are as they are.
func resolve(path string) (string, error) {
	name, ok := strings.CutPrefix(path, virtioPorts)
	if !ok {
		return path, nil
	}
	for deadline := time.Now().Add(appears); ; time.Sleep(20 * time.Millisecond) {
		names, _ := filepath.Glob(portsClass + "/*/name") // the pattern is good
		var found []string
		for _, file := range names {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // gone
			}
			if n := strings.TrimSpace(string(text)); n == name {
				return "/dev/" + filepath.Base(filepath.Dir(file)), nil
			} else if n != "" {
				found = append(found, n)
			}
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%s: there is no virtio-serial port of that name (there are %q): give the machine one (QEMU: -device virtio-serial-pci -device virtserialport,name=%s,chardev=…), and load its driver (--modules virtio_pci,virtio_console)", path, found, name)
		}
	}
}
