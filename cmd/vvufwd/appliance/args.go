package appliance

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Args picks the program's own arguments out of what the kernel handed to init;
// argv is os.Args. The words in ignored were meant for the kernel or for no one,
// and are worth a line in the log.
//
// What the kernel does with its command line, before it starts init:
//
//   - Every word after a word "--" becomes an argument of init as it is, without
//     the double quotes around a value.
//   - Of the words before it that no part of the kernel knows, those with a dot
//     in their name are dropped (they might belong to a module), those with "="
//     become environment variables, and the others become arguments too, ahead of
//     those after "--".
//   - More than 31 arguments, or 32 environment variables, make the kernel panic.
//     With --flag=value each flag is one word.
//
// So words in front of the first one that begins with a dash are ignored here. An
// error means that the flags were written without a "--" in front of them, where
// the kernel has eaten some of their values; it is a mistake in usage.
func Args(argv []string) (args, ignored []string, err error) {
	// Without /proc there is nothing to compare with, and argv stands for itself.
	cmdline, _ := os.ReadFile("/proc/cmdline")
	return splitArgs(argv, os.Environ(), string(cmdline))
}

func splitArgs(argv, environ []string, cmdline string) (args, ignored []string, err error) {
	if len(argv) > 0 {
		ignored = argv[1:]
	}
	if first := slices.IndexFunc(ignored, isFlag); first >= 0 {
		ignored, args = ignored[:first], ignored[first:]
	}
	for _, variable := range environ {
		if isFlag(variable) {
			return nil, nil, misplaced(variable)
		}
	}
	if words := splitCmdline(cmdline); len(args) > 0 && slices.Contains(words, args[0]) && !slices.Contains(words, "--") {
		return nil, nil, misplaced(args[0])
	}
	return args, ignored, nil
}

func isFlag(word string) bool {
	return len(word) > 1 && strings.HasPrefix(word, "-")
}

func misplaced(word string) error {
	return fmt.Errorf("%q is among the kernel's own parameters on the command line: put a word \"--\" between those and the flags of vvufwd", word)
}
