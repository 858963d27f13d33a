package main

import (
	"errors"
	"flag"
	"io"

	"vvufwd/cmd/internal/cli"
)

// checkWord stands in place of flags, and has those after it checked: nothing is opened or started.
// checkForInit, after it, has them read as the /init of another machine does.
const (
	checkWord    = "check"
	checkForInit = "init"
)

// checkArguments checks what follows checkWord. Help goes to out, if that is asked for.
func checkArguments(args []string, out io.Writer) error {
	forInit := len(args) > 0 && args[0] == checkForInit
	if forInit {
		args = args[1:]
	}
	o, err := parseFlags(args, forInit, out)
	if forInit && (errors.Is(err, flag.ErrHelp) || err == nil && o.version) {
		return cli.Usagef("/init would say that and end: leave it out")
	}
	if err != nil || o.version || forInit { // which has other CPUs than this machine
		return err
	}
	return cli.CheckCPUs("--cpus", o.cpus)
}
