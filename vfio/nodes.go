package vfio

import (
	"errors"
	"os"
	"path/filepath"
)

// Where the kernel's files are.
const (
	devVFIO  = "/dev/vfio"
	devIOMMU = "/dev/iommu"
)

// Nodes are the files by which a process gets address spaces, for one that has to give up
// the privileges to open them before it needs them.
type Nodes struct {
	Container *os.File // /dev/vfio/vfio; nil: it does not open
	IOMMUFD   *os.File // /dev/iommu; nil: the kernel does without
}

// OpenNodes opens them. What does not open is missing, and whoever needs it will be told why.
func OpenNodes() (n Nodes) {
	open := func(path string) *os.File {
		fd, err := openFile(path)
		if err != nil {
			return nil
		}
		return os.NewFile(uintptr(fd), path)
	}
	return Nodes{Container: open(filepath.Join(devVFIO, "vfio")), IOMMUFD: open(devIOMMU)}
}

// Shared is what a container of these files will have, and of b, for another process.
func (n Nodes) Shared(b *Bare) Shared {
	s := Shared{Container: -1, Bare: -1, IOMMUFD: n.IOMMUFD != nil}
	if n.Container != nil {
		s.Container = int(n.Container.Fd())
	}
	if b != nil {
		s.Bare = int(b.node.Fd())
	}
	return s
}

// Names of the files when they are handed from one process to another.
const (
	handedContainer = "VFIO container"
	handedIOMMUFD   = "iommufd"
)

// Hand adds the files to those that are handed to another process.
func (n Nodes) Hand(files map[string]*os.File) {
	for name, f := range map[string]*os.File{handedContainer: n.Container, handedIOMMUFD: n.IOMMUFD} {
		if f != nil {
			files[name] = f
		}
	}
}

// InheritNodes are those that Hand has handed over; take gives a file by its name.
func InheritNodes(take func(name string) *os.File) Nodes {
	return Nodes{Container: take(handedContainer), IOMMUFD: take(handedIOMMUFD)}
}

// Close closes the files.
func (n Nodes) Close() error {
	var errs []error
	for _, f := range []*os.File{n.Container, n.IOMMUFD} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
