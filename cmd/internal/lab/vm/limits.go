package vm

import "time"

// Limits of waiting for a machine, on a host with two busy cores and no hardware virtualisation; usually a tenth is needed.
const (
	BootLimit    = 5 * time.Minute
	CommandLimit = 2 * time.Minute
	StopLimit    = time.Minute
)
