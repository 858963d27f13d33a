package upkeep

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/netfwd/netdev"
)

// lookEach is how often interfaces are looked at without news of them: a driver may not be ready yet, and
// news may be lost.
const lookEach = 2 * time.Second

// Run is all that the process does. It returns when vvufwd has ended.
func Run(log *zap.Logger) error {
	list, confined := decode(role.Told())
	policy := confine.Policy{SetUpInterfaces: true}
	if err := beside.Begin(policy, confined); err != nil {
		return err
	}
	socket, err := netdev.Socket()
	if err != nil {
		return err
	}
	events, err := netdev.Events()
	if err != nil {
		return err
	}
	if confined {
		if err := policy.Finish(log); err != nil {
			return fmt.Errorf("upkeep: %w", err)
		}
	}
	all := &interfaces{
		all: list, index: map[string]int32{},
		ask: func(name string) (int32, error) {
			r := netdev.Named(name)
			err := r.Ask(socket, unix.SIOCGIFINDEX)
			return r.Int(), err
		},
		setUp: func(i Interface) error { return netdev.SetUp(socket, i.Name, i.MTU) },
	}
	return all.keep(os.NewFile(beside.FirstFD, "vvufwd"), events, log)
}

// keep looks after them until the line ends.
func (i *interfaces) keep(line, events *os.File, log *zap.Logger) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = line.Read(make([]byte, 1)) // nothing is written there
	}()
	changes := make(chan struct{}, 1)
	go netdev.Watch(events, changes)
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for last := ""; ; {
		if err := i.look(); err != nil && err.Error() != last {
			last = err.Error()
			log.Warn("an interface that is back stays down; trying again", zap.Error(err))
		}
		select {
		case <-ended:
			return nil
		case <-changes:
		case <-tick.C:
		}
	}
}
