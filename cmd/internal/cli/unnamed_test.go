package cli

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestUnnamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "absent")
	_, file := os.Open(name)
	_, socket := net.Dial("unix", name)
	program := exec.Command("no-such-program").Run()
	other := errors.New(name)
	for _, tt := range []struct {
		err  error
		want string
		is   error
	}{
		{file, "open: no such file or directory", fs.ErrNotExist},
		{socket, "dial: connect: no such file or directory", fs.ErrNotExist},
		{program, "executable file not found in $PATH", exec.ErrNotFound},
		{other, name, other},
	} {
		if got := Unnamed(tt.err); got.Error() != tt.want || !errors.Is(got, tt.is) {
			t.Errorf("%v becomes %v, want %s", tt.err, got, tt.want)
		}
	}
	if Unnamed(nil) != nil {
		t.Error("an error where there was none")
	}
}
