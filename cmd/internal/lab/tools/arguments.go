package tools

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"vvufwd/cmd/internal/cli"
)

// ErrNotChecked says that a vvufwd was not asked about its arguments, because this machine does not run it, or it knows no such question.
var ErrNotChecked = errors.New("does not run here, and no one has checked its arguments")

// What a program has that may be no vvufwd: how long to answer, how many bytes for that, and how long what it has started may keep its
// output open after it.
const (
	checkTime  = 30 * time.Second
	checkBytes = 64 << 10
	checkAfter = time.Second
)

// CheckArguments has vvufwd itself check the arguments that it is to get as /init, before a machine boots that would only power off
// again. Flags is what the arguments came with, such as "--args". A mistake in them is a cli.UsageError.
func CheckArguments(ctx context.Context, vvufwd, flags string, arguments []string) error {
	program, err := filepath.Abs(vvufwd)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var said beginning
	cmd := exec.CommandContext(limited, program, append([]string{"check", "init"}, arguments...)...)
	cmd.Dir = "/" // as /init
	cmd.Stderr = &said
	cmd.WaitDelay = checkAfter
	err = cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case strings.Contains(said.String(), `unexpected argument "check"`):
		return fmt.Errorf("%s %w: it is an older one", vvufwd, ErrNotChecked)
	case ended && exit.ExitCode() == cli.Misused && strings.HasPrefix(said.String(), "vvufwd: "):
		mistake := strings.TrimPrefix(strings.TrimSpace(said.String()), "vvufwd: ")
		if short, ok := strings.CutSuffix(mistake, "see --help"); ok { // vvufwd's, and not that of the program that asks
			mistake = short + "see vvufwd --help"
		}
		return cli.Usagef("%s: %s", flags, mistake)
	}
	return fmt.Errorf("%s %w: %w", vvufwd, ErrNotChecked, err)
}

// beginning keeps the first checkBytes of what is written.
type beginning struct{ text strings.Builder }

func (b *beginning) Write(p []byte) (int, error) {
	b.text.Write(p[:min(len(p), checkBytes-b.text.Len())])
	return len(p), nil
}

func (b *beginning) String() string { return b.text.String() }
