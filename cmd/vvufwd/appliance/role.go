package appliance

import "os"

// supervisedEnv marks the environment of the process that Supervise starts.
const supervisedEnv = "VVUFWD_SUPERVISED"

// initPIDNamespace is the first PID namespace of a kernel. Its inode number is
// the same in all kernels that have PID namespaces in /proc.
const initPIDNamespace = "pid:[4026531836]"

// IsInit reports whether this process is the init of a machine, so that it must
// call Supervise. PID 1 of a container is no such init: there are others who
// mount file systems and power off.
func IsInit() bool {
	return isInit(os.Getpid(), "/proc/self/ns/pid")
}

func isInit(pid int, namespaceLink string) bool {
	if pid != 1 {
		return false
	}
	namespace, err := os.Readlink(namespaceLink)
	// Without /proc no one was here before us, so it is the kernel that started us.
	return err != nil || namespace == initPIDNamespace
}

// Supervised reports whether this process is the child of an init that is in
// Supervise: the machine is there for this program alone, and no one else sets it
// up.
func Supervised() bool {
	return os.Getppid() == 1 && os.Getenv(supervisedEnv) == "1"
}
