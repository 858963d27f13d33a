package kmod

import (
	"fmt"
	"io"
	"strings"
)

// WriteDep writes a modules.dep that describes the given modules, in their order.
func WriteDep(w io.Writer, modules []Module) error {
	for _, m := range modules {
		line := m.Path + ":"
		if len(m.Deps) > 0 {
			line += " " + strings.Join(m.Deps, " ")
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
