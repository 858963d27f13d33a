package vm

import (
	"fmt"
	"os"
)

// longestSocketDir leaves room for the names of sockets within the 107 bytes that a socket's path may have.
const longestSocketDir = 90

// SocketDir makes a directory for a program's sockets that only this user may enter. Its path is short, whatever TMPDIR says.
func SocketDir(program string) (string, error) {
	parent := os.TempDir()
	if len(parent) > longestSocketDir-20 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, program+"-")
	if err != nil {
		return "", fmt.Errorf("directory for sockets: %w: set TMPDIR to one where files can be made", err)
	}
	return dir, nil
}
