package virtionet

// State is what a queue pair is good for. Which queue pairs frames go to depends on it.
type State uint32

const (
	StateIdle    State = iota // no ring runs: nothing comes, and what is sent is dropped
	StateSending              // frames come, or may come soon, but none is taken
	StateActive               // frames are taken
)
