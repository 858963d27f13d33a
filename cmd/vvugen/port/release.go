package port

// storeRelease stores v at p after every earlier load and store. Unlike an
// atomic store it does not order later loads: on amd64 it need not wait until
// the cache lines of the frames just written have arrived, which would cost a
// fifth of the generator's time.
//
// The race detector does not see it, nor the shared memory that it writes to.
//
//go:noescape
func storeRelease(p *uint32, v uint32)
