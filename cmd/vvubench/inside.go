package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"

	"vvufwd/cmd/internal/lab/namespace"
	"vvufwd/cmd/vvubench/measure"
	"vvufwd/cmd/vvubench/plan"
	"vvufwd/cmd/vvubench/testpmd"
)

// errInside is that of a run in a namespace, which has said more.
var errInside = errors.New("the measurements in a network of their own failed, see above")

// inNamespace runs this program again in a network of its own if cases need interfaces, so that
// none is left however it ends, and reports whether it has. Where there can be no such
// network those cases are left out.
func inNamespace(ctx context.Context, o *options, args []string, out, progress io.Writer, tell func(string)) (done bool, err error) {
	if namespace.Inside() {
		return false, namespace.Settle()
	}
	if !o.needsInterfaces() {
		return false, nil
	}
	if _, err := beside(o.vvugen, "vvugen"); err != nil {
		return false, err
	}
	if err := findVvufwds(ctx, o, &measure.Runner{}); err != nil {
		return false, err
	}
	if o.needsTestpmd() { // it cannot be fetched from inside
		if _, err := testpmd.Find(ctx, testpmd.Options{Path: o.testpmd, BuildDir: o.buildDir, Progress: tell}); err != nil {
			return false, fmt.Errorf("%w (flag --testpmd; or compare two vvufwd with --against)", err)
		}
	}
	cmd, err := namespace.Command(ctx, args...)
	if err == nil {
		cmd.Stdout, cmd.Stderr = out, progress
		err = namespace.Run(cmd)
	}
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return true, errInside
	}
	if err == nil {
		return true, nil
	}
	o.noInterfaces = true
	if len(o.cases()) == 0 {
		return false, err
	}
	tell(fmt.Sprintf("no case with interfaces of the kernel is measured: %v", err))
	return false, nil
}

// needsInterfaces reports whether a case has interfaces of the kernel.
func (o *options) needsInterfaces() bool {
	return slices.ContainsFunc(o.cases(), throughInterfaces)
}

func throughInterfaces(c plan.Case) bool { return c.Through != "" }
