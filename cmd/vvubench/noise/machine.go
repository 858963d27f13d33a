package noise

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine says what figures were measured on.
type Machine struct {
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	Kernel     string `json:"kernel"`
	Hypervisor bool   `json:"hypervisor"` // it is a virtual machine
	HugePages  string `json:"huge_pages_free"`
}

// Describe describes this machine. What cannot be found out stays empty.
func Describe() Machine {
	m := Machine{CPUs: runtime.NumCPU()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU, m.Hypervisor = parseCPUInfo(string(text))
	}
	if text, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"); err == nil {
		m.HugePages = strings.TrimSpace(string(text)) + " of 2 MiB"
	}
	return m
}

func parseCPUInfo(text string) (model string, hypervisor bool) {
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "model name":
			model = value
		case "flags":
			hypervisor = strings.Contains(" "+value+" ", " hypervisor ")
		}
	}
	return model, hypervisor
}
