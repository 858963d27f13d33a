package reopen

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/netfwd/netdev/xdp"
	"vvufwd/virtio/peerfd"
)

// Run is all that the process does. It returns when vvufwd has ended.
func Run(log *zap.Logger) error {
	var cfg config
	if err := json.Unmarshal([]byte(role.Told()), &cfg); err != nil {
		return fmt.Errorf("reopener: %w", err)
	}
	policy := confine.Policy{OpenXDP: true}
	if err := beside.Begin(policy, cfg.Confine); err != nil {
		return err
	}
	lines, err := beside.Lines(beside.FirstFD, len(cfg.Ports))
	if err != nil {
		return fmt.Errorf("reopener: %w", err)
	}
	if cfg.Confine {
		if err := xdp.Prepare(); err != nil {
			return fmt.Errorf("reopener: %w", err)
		}
		if err := policy.Finish(log); err != nil {
			return fmt.Errorf("reopener: %w", err)
		}
	}
	var all sync.WaitGroup
	for i, p := range cfg.Ports {
		all.Go(func() { serve(lines[i], p) })
	}
	all.Wait()
	return nil
}

// serve answers the requests of a line until the other side closes it.
func serve(conn *net.UnixConn, p Port) {
	defer conn.Close()
	var request [1]byte
	for {
		if n, err := conn.Read(request[:]); err != nil || n == 0 {
			return
		}
		if err := answer(conn, p); err != nil {
			return
		}
	}
}

// answer opens the interface and sends what that gave.
func answer(conn *net.UnixConn, p Port) error {
	files, err := xdp.Open(p.Interface, p.Options)
	if err != nil {
		text := append([]byte{answerError}, err.Error()...)
		return peerfd.Send(conn, text[:min(len(text), maxAnswer)])
	}
	var fds []int
	for _, f := range files {
		defer f.Close()
		fds = append(fds, int(f.Fd()))
	}
	return peerfd.Send(conn, []byte{answerFiles}, fds...)
}
