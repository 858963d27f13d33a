package confine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Who is refused what takes no privilege is told who may have refused it.
func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{{os.NewSyscallError("landlock_create_ruleset", unix.EPERM), true}, {fmt.Errorf("%w", unix.EINVAL), false}} {
		err := failure(tt.err)
		if got := strings.Contains(err.Error(), "filter of system calls may have to let landlock_create_ruleset"); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v", err)
		}
		if !strings.HasSuffix(err.Error(), "; to keep them, use --no-confine") {
			t.Errorf("%v", err)
		}
	}
}
