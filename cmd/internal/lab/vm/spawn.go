package vm

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner starts all children from one thread that lives as long as the demo. The kernel sends a child its parent-death
// signal when the *thread* that started it ends, so a child started from any thread might be killed too early.
var spawner = sync.OnceValue(func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request()
		}
	}()
	return requests
})

// spawn starts cmd such that it dies with the demo, and in a process group of its own, so that Ctrl-C reaches the demo alone
// and the demo stops its children in order.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}
