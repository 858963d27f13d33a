package cli

// Exit codes, the same for every command; each uses those that apply to it.
const (
	Done     = 0
	Failed   = 1 // a failure while running
	Misused  = 2 // the command line is wrong
	Unusable = 3 // a device, a socket or a file that was named cannot be used
	Gone     = 4 // a device has gone that was in use
)
