package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
)

// Shadow regions that are larger together than any machine's memory are refused, with why.
func TestShadowsLargerThanMemory(t *testing.T) {
	args := []string{"--shadow", "1T"}
	for i := range 64 {
		args = append(args, "--device", fmt.Sprintf("vfio-user=m%d,vhost-user=a%d", i, i))
	}
	_, err := parseOptions(args, io.Discard)
	if !errors.As(err, new(*cli.UnusableError)) || !strings.HasPrefix(err.Error(), "--shadow 1T: this machine has ") || !strings.HasSuffix(err.Error(), "write to all of 64 such regions: 64M each will do") {
		t.Error(err)
	}
	args[1] = "64M"
	if _, err := parseOptions(args[:4], io.Discard); err != nil {
		t.Error(err)
	}
}
