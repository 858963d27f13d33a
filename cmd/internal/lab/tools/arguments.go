package tools

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/cli"
)

// ErrNotChecked says that a vvufwd was not asked about its arguments, because this machine does not run it.
var ErrNotChecked = errors.New("does not run here, and no one has checked its arguments")

// CheckArguments has vvufwd itself check the arguments that it is to get as /init, before a machine boots that would only power off
// again. Flags is what the arguments came with, such as "--args". A mistake in them is a cli.UsageError.
func CheckArguments(ctx context.Context, vvufwd, flags string, arguments []string) error {
	program, err := filepath.Abs(vvufwd)
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, append([]string{"check", "init"}, arguments...)...)
	cmd.Stderr = &said
	err = cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ended && exit.ExitCode() == cli.Misused:
		mistake := strings.TrimPrefix(strings.TrimSpace(said.String()), "vvufwd: ")
		if short, ok := strings.CutSuffix(mistake, "see --help"); ok { // vvufwd's, and not that of the program that asks
			mistake = short + "see vvufwd --help"
		}
		return cli.Usagef("%s: %s", flags, mistake)
	}
	return fmt.Errorf("%s %w: %w", vvufwd, ErrNotChecked, err)
}
