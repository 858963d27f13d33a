package main

import (
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
)

// A command line of which the kernel would cut something off is refused; a medium that GRUB boots has a word of GRUB's in it.
func TestLongCommandLine(t *testing.T) {
	o := options{output: "x.gz", words: words{"--vvu=0000:00:05.0", "--nic=eth0", "--capture=0000:00:05.0=/"}}
	o.words[2] += strings.Repeat("x", mostBytes-len(o.commandLine()))
	if err := o.tooMany(); err != nil || len(o.commandLine()) != 2047 {
		t.Errorf("%d bytes: %v", len(o.commandLine()), err)
	}
	if o.output = "x.iso"; !cli.IsUsage(o.tooMany()) {
		t.Error("there is no room for GRUB's word")
	}
	o.output = "x.gz"
	o.words[2] += "x"
	if err := o.tooMany(); !cli.IsUsage(err) || !strings.Contains(err.Error(), "a kernel command line of 2048 bytes") {
		t.Errorf("%d bytes: %v", len(o.commandLine()), err)
	}
}
