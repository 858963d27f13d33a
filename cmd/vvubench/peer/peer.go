package peer

import "context"

// Peer is a kind of forwarder. Owned by one goroutine.
type Peer interface {
	// Name is what tables call it.
	Name() string
	// Version is what it says of itself; empty before the first Start if only a
	// running one tells.
	Version() string
	// Start starts one and returns when all sockets can be connected to. Whoever
	// starts one has to Close it.
	Start(ctx context.Context, job Job) (Forwarder, error)
}

// Job says what to forward.
type Job struct {
	Pairs      [][2]string // sockets; the forwarder listens on both of a pair
	CPU        int         // forwards
	ControlCPU int         // does the rest, where the peer can tell them apart
	Switch     bool        // join all ports in a learning switch, if the peer can
	Through    string      // a kind of interface, see plan.Case; empty: the sockets of a pair are joined
	Interfaces []string    // with Through: what each socket is joined with
	LogPath    string      // receives what the forwarder prints
}

// sockets are all of the job.
func (j *Job) sockets() (all []string) {
	for _, pair := range j.Pairs {
		all = append(all, pair[0], pair[1])
	}
	return all
}

// Forwarder is a running one.
type Forwarder interface {
	PID() int
	// Stop ends it and returns what it has done since it started.
	Stop(ctx context.Context) (Work, error)
	// Close makes sure that it is gone. It may be called any number of times.
	Close() error
}

// Work is what a forwarder has done.
type Work struct {
	Packets uint64 // that came in, of all ports
	Dropped uint64 // that did not go out again
	// BusyNS is the time, in nanoseconds, of the rounds that moved packets; 0 if
	// the forwarder does not tell.
	BusyNS float64
}

// BusyPerPacket is the busy time of each packet in nanoseconds, or 0 if unknown.
func (w Work) BusyPerPacket() float64 {
	if w.Packets == 0 {
		return 0
	}
	return w.BusyNS / float64(w.Packets)
}
