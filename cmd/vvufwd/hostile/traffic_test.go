package hostile

import (
	"fmt"
	"runtime/debug"
)

// traffic keeps the rings of a guest busy until it is stopped or until the guest's
// memory vanishes.
type traffic struct {
	quit chan struct{}
	done chan error
}

// startTraffic sends frames from a goroutine of its own and takes what arrives. The
// guest's rings belong to it until stop returns; its wire does not.
func startTraffic(g *guest) *traffic {
	tr := &traffic{make(chan struct{}), make(chan error, 1)}
	go func() { tr.done <- tr.run(g) }()
	return tr
}

func (tr *traffic) run(g *guest) (err error) {
	debug.SetPanicOnFault(true)
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = fmt.Errorf("memory is gone: %v", r)
		}
	}()
	frame := testFrame(0, 400)
	for {
		select {
		case <-tr.quit:
			return nil
		default:
		}
		idle := g.send(frame) == errFull
		for {
			f, err := g.receive()
			if err != nil {
				return err
			}
			if f == nil {
				break
			}
			idle = false
		}
		if idle {
			g.doze(transmitRing)
		}
	}
}

// stop ends the traffic and returns why it had ended before, if it had.
func (tr *traffic) stop() error {
	close(tr.quit)
	return <-tr.done
}
