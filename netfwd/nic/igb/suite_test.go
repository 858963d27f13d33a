package igb

import (
	"testing"

	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/netfwd/nic/intel/inteltest/suite"
)

func TestDriver(t *testing.T) { suite.Run(t, inteltest.I82576, Driver) }

func BenchmarkNICCore(b *testing.B) { suite.Measure(b, inteltest.I82576, Driver) }
