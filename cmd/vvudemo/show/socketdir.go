package show

import (
	"fmt"
	"os"
)

// longestSocketDir leaves room for the names of the demo's sockets within the 107 bytes that a socket's path may have.
const longestSocketDir = 90

// socketDir makes a directory for sockets that only this user may enter.
func socketDir() (string, error) {
	parent := os.TempDir()
	if len(parent) > longestSocketDir-20 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "vvudemo-")
	if err != nil {
		return "", fmt.Errorf("directory for sockets: %w", err)
	}
	return dir, nil
}
