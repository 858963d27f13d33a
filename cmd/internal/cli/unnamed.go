package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
)

// Unnamed is an error of packages os, os/exec or net without the name of the file, program or address that it is about, for a text
// that has named it already. Any other error is left as it is.
func Unnamed(err error) error {
	switch err := err.(type) {
	case *fs.PathError:
		return fmt.Errorf("%s: %w", err.Op, err.Err)
	case *exec.Error:
		return err.Err
	case *net.OpError:
		return fmt.Errorf("%s: %w", err.Op, errors.Unwrap(err))
	}
	return err
}
