package show

import (
	"context"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

// CheckArguments has vvufwd check its arguments, before anything is started. A mistake in ForwarderArgs is a cli.UsageError.
func CheckArguments(ctx context.Context, c Config) error {
	if !c.counted() {
		return nil
	}
	return tools.CheckArguments(ctx, c.Tools.Vvufwd, "--vvufwd-args", c.initArgs(max(1, c.AppVMs)))
}

// initArgs are vvufwd's arguments: a pair, or a switch in which each app VM may only use its own hardware address.
func (c *Config) initArgs(appVMs int) []string {
	var args []string
	if appVMs > 1 {
		args = append(args, "--switch")
		if c.Isolate {
			args = append(args, "--isolate")
		}
	}
	for number := range appVMs {
		address := machine.VVUAddress(number)
		if appVMs > 1 {
			address += ",mac=" + machine.AppMACOf(number)
		}
		args = append(args, "--vvu", address)
	}
	args = append(args, c.NICPort.InitArgs(c.NIC)...)
	args = append(args, "--stats", statsInterval.String(), "--stats-json")
	args = append(args, c.captureArgs()...)
	args = append(args, c.IOMMU.InitArgs()...)
	return append(args, c.ForwarderArgs...)
}
