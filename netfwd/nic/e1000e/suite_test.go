package e1000e

import (
	"testing"

	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/netfwd/nic/intel/inteltest/suite"
)

func TestDriver(t *testing.T) { suite.Run(t, inteltest.I82574, Driver) }

func BenchmarkNICCore(b *testing.B) { suite.Measure(b, inteltest.I82574, Driver) }
