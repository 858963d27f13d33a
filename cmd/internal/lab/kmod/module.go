package kmod

import (
	"path"
	"strings"
)

// Module is one kernel module file of a Tree.
type Module struct {
	// Name is the kernel's name of the module, with underscores: "vfio_pci".
	Name string
	// Path is the file, relative to the tree: "kernel/drivers/vfio/pci/vfio-pci.ko".
	Path string
	// Deps are the paths of every module that must be loaded before this one, nearest first and deepest last,
	// which is the order in which modules.dep lists them: a loader walks the list from its end.
	Deps []string
}

// Compression names how the module file is compressed: "", "gz", "xz" or "zst".
func (m Module) Compression() string {
	ext := strings.TrimPrefix(path.Ext(m.Path), ".")
	if ext == "ko" {
		return ""
	}
	return ext
}

// Uncompressed is the module as it is once its file is decompressed: with the paths of such files.
func (m Module) Uncompressed() Module {
	deps := make([]string, len(m.Deps))
	for i, d := range m.Deps {
		deps[i] = uncompressed(d)
	}
	return Module{Name: m.Name, Path: uncompressed(m.Path), Deps: deps}
}

func uncompressed(file string) string {
	if path.Ext(file) == ".ko" {
		return file
	}
	return strings.TrimSuffix(file, path.Ext(file))
}

// isModuleFile reports whether a file name is that of a kernel module, compressed or not.
func isModuleFile(name string) bool {
	for _, suffix := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
