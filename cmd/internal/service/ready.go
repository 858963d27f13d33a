// Package service is what programs tell the service manager that has started them.
package service

import (
	"fmt"
	"net"
	"os"
)

// socketEnv names the manager's socket, see sd_notify(3). A name that begins with @ is one of the abstract namespace, as package net
// has it.
const socketEnv = "NOTIFY_SOCKET"

// Ready tells the manager, if there is one that wants to know, that the program can be used: its sockets are there, and who connects to
// one waits until it is served. Only the first call tells; no process that is started later does. It takes a socket of its
// own, so it has to come before privileges are given up.
func Ready() error {
	name := os.Getenv(socketEnv)
	if name == "" {
		return nil
	}
	if err := os.Unsetenv(socketEnv); err != nil {
		return err
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		return fmt.Errorf("tell the service manager at %s=%s: %w", socketEnv, name, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager at %s=%s: %w", socketEnv, name, err)
	}
	return nil
}
