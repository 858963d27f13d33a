package vfio

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Bare are functions that no IOMMU confines, opened, and memory for them. All of it
// takes privileges that a process that serves peers should not have: CAP_SYS_RAWIO to open
// such a function, CAP_SYS_ADMIN to find out where memory lies. So it is done first, and
// handed to the process that goes on without them. See also Container.
type Bare struct {
	// Bindings are what has been done to functions to get them, for who undoes it. They are not handed over.
	Bindings []pci.Binding

	sysfs pci.Sysfs
	node  *os.File // the container of their groups
	files map[pci.Address]Files
	pages *dma.Physical
}

// BareConfig is how OpenBare gets functions.
type BareConfig struct {
	Sysfs pci.Sysfs
	// Bind binds functions to vfio-pci; else they must be.
	Bind bool
	// Pages is how many huge pages of 2 MiB to take for these functions; it will be fewer if
	// there are not so many, but one.
	Pages func(bare []pci.Address) int
}

// OpenBare opens those of functions that no IOMMU has in a group. It is nil if there are none.
// What the user can fix is reported as *pci.DeviceError, or wraps dma.ErrHugePages or
// dma.ErrNoLocation.
func OpenBare(functions []pci.Address, cfg BareConfig) (*Bare, error) {
	return openBare(functions, cfg, linux, devVFIO, dma.TakePhysical)
}

func openBare(functions []pci.Address, cfg BareConfig, k kernel, dir string, take func(pages int) (*dma.Physical, error)) (b *Bare, err error) {
	var bare []pci.Info
	for _, addr := range functions {
		info, err := cfg.Sysfs.Device(addr)
		if err != nil {
			return nil, err
		}
		if !info.HasIOMMUGroup || info.NoIOMMU {
			bare = append(bare, info)
		}
	}
	if len(bare) == 0 {
		return nil, nil
	}
	b = &Bare{sysfs: cfg.Sysfs, files: map[pci.Address]Files{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.GiveBack())
			b = nil
		}
	}()
	path := filepath.Join(dir, "vfio")
	fd, err := openFile(path)
	if err != nil {
		return b, nodeError(path, err)
	}
	b.node = os.NewFile(uintptr(fd), path)
	if err := checkAPI(k, fd, path); err != nil {
		return b, err
	}
	g := newGroups(k, cfg.Sysfs, dir, fd, uapi.NoIOMMU)
	for _, info := range bare {
		if err := b.open(g, info, cfg); err != nil {
			return b, err
		}
	}
	b.pages, err = take(cfg.Pages(b.Functions()))
	return b, err
}

// open binds and opens one function.
func (b *Bare) open(g *groups, info pci.Info, cfg BareConfig) error {
	if err := cfg.Sysfs.CheckNoIOMMU(info); err != nil {
		return err
	}
	if !info.BoundToVFIO() && cfg.Bind {
		binding, err := cfg.Sysfs.Bind(info.Address, "vfio-pci")
		if err != nil {
			return err
		}
		b.Bindings = append(b.Bindings, binding)
		if info, err = cfg.Sysfs.Device(info.Address); err != nil {
			return err
		}
	}
	if info.Driver == "" || !info.BoundToVFIO() {
		info.HasIOMMUGroup = true // the group comes with the driver
		return checkInfo(info)
	}
	if !info.NoIOMMU {
		return &pci.DeviceError{
			Device: info.Address.String(), Problem: "is bound to vfio-pci, but is in no no-IOMMU group",
			Remedy: "turn the kernel's no-IOMMU mode on before it is bound: unbind it, and start vvufwd again",
		}
	}
	files, err := g.open(info)
	if err != nil {
		// Its group may have opened, and be no one else's.
		if fd, ok := g.joined[info.IOMMUGroup]; ok && !b.hasGroup(fd) {
			err = errors.Join(err, closeFile(fd, "IOMMU group"))
		}
		return err
	}
	b.files[info.Address] = files
	return nil
}

// hasGroup reports whether a group's file is one of b's.
func (b *Bare) hasGroup(fd int) bool {
	for _, f := range b.files {
		if f.GroupFD == fd {
			return true
		}
	}
	return false
}

// GiveBack closes everything and gives functions back to the drivers that they had. The kernel
// waits with that until no one has them open any more, in any process.
func (b *Bare) GiveBack() error {
	if b == nil {
		return nil
	}
	errs := []error{b.Close()}
	for _, binding := range slices.Backward(b.Bindings) {
		errs = append(errs, b.sysfs.Undo(binding))
	}
	b.Bindings = nil
	return errors.Join(errs...)
}

// Functions are those that it has.
func (b *Bare) Functions() []pci.Address {
	if b == nil {
		return nil
	}
	list := slices.Collect(maps.Keys(b.files))
	slices.SortFunc(list, func(a, b pci.Address) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// Pages is how many huge pages there are for them.
func (b *Bare) Pages() int {
	if b == nil {
		return 0
	}
	return len(b.pages.Places())
}

// moveInto gives all to a container.
func (b *Bare) moveInto(c *Container) error {
	if b == nil {
		return nil
	}
	fd, err := dup(b.node)
	if err != nil {
		return errors.Join(fmt.Errorf("VFIO container: %w", err), b.Close())
	}
	g := newGroups(c.kernel, c.sysfs, c.dir, fd, uapi.NoIOMMU)
	g.iommu = true
	g.arena = dma.NewPhysicalArena(b.pages)
	for _, files := range b.files {
		g.joined[files.Group] = files.GroupFD
	}
	c.spaces[NoIOMMU], c.opened, c.pages = g, b.files, b.pages
	err = b.node.Close()
	b.node, b.files, b.pages = nil, nil, nil
	return err
}

// Close closes all files and gives the memory back. Functions stay bound.
func (b *Bare) Close() error {
	if b == nil {
		return nil
	}
	var errs []error
	groups := map[int]bool{}
	for _, f := range b.files {
		if f.DeviceFD >= 0 {
			errs = append(errs, closeFile(f.DeviceFD, "VFIO device"))
		}
		if f.GroupFD >= 0 && !groups[f.GroupFD] { // functions can share one
			groups[f.GroupFD] = true
			errs = append(errs, closeFile(f.GroupFD, "IOMMU group"))
		}
	}
	b.files = nil
	errs = append(errs, b.pages.Close())
	b.pages = nil
	if b.node != nil {
		errs = append(errs, b.node.Close())
		b.node = nil
	}
	return errors.Join(errs...)
}

// Names of the files when they are handed from one process to another. Those of a group and
// of a function are followed by its number or address.
const (
	handedBare   = "what is known of bare functions"
	handedNode   = "container of bare functions"
	handedPages  = "memory of bare functions"
	handedGroup  = "group of bare functions "
	handedDevice = "bare function "
)

// bareState is what is not in files.
type bareState struct {
	Groups map[string]int // of functions, by address
	Places []dma.IOVA
}

// Hand adds files to those that are handed to another process: all that InheritBare needs.
// They are duplicates, which the caller closes with the others.
func (b *Bare) Hand(files map[string]*os.File) (err error) {
	if b == nil {
		return nil
	}
	state := bareState{Groups: map[string]int{}, Places: b.pages.Places()}
	hand := func(name string, fd int) {
		if files[name] != nil { // a group that functions share
			return
		}
		fd, failed := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("hand over the %s: %w", name, failed))
			return
		}
		files[name] = os.NewFile(uintptr(fd), name)
	}
	hand(handedNode, int(b.node.Fd()))
	hand(handedPages, int(b.pages.File().Fd()))
	for addr, f := range b.files {
		state.Groups[addr.String()] = f.Group
		hand(handedDevice+addr.String(), f.DeviceFD)
		hand(handedGroup+strconv.Itoa(f.Group), f.GroupFD)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	note := os.NewFile(uintptr(fd), handedBare)
	files[handedBare] = note
	_, err = note.WriteAt(text, 0)
	return err
}

// InheritBare is what Hand has handed over; take gives a file by its name. It is nil if
// nothing was.
func InheritBare(take func(name string) *os.File) (b *Bare, err error) {
	note := take(handedBare)
	if note == nil {
		return nil, nil
	}
	defer note.Close()
	text, err := io.ReadAll(io.NewSectionReader(note, 0, 1<<20))
	var state bareState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		return nil, fmt.Errorf("take devices over: %w", err)
	}
	b = &Bare{node: take(handedNode), files: map[pci.Address]Files{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take devices over: %w", err), b.Close())
			b = nil
		}
	}()
	fdOf := func(name string) int {
		f := take(name)
		if f == nil {
			err = errors.Join(err, fmt.Errorf("no file for the %s", name))
			return -1
		}
		defer f.Close()
		fd, failed := dup(f)
		err = errors.Join(err, failed)
		return fd
	}
	groups := map[int]int{}
	for text, group := range state.Groups {
		addr, bad := pci.ParseAddress(text)
		if bad != nil {
			return b, bad
		}
		if _, ok := groups[group]; !ok {
			groups[group] = fdOf(handedGroup + strconv.Itoa(group))
		}
		b.files[addr] = Files{Mode: NoIOMMU, Group: group, GroupFD: groups[group], DeviceFD: fdOf(handedDevice + text)}
	}
	pages := take(handedPages)
	if pages == nil {
		return b, errors.Join(err, errors.New("no memory"))
	}
	if b.node == nil {
		err = errors.Join(err, errors.New("no container"))
	}
	if err == nil {
		b.pages, err = dma.InheritPhysical(pages, state.Places)
	}
	if err != nil {
		err = errors.Join(err, pages.Close())
	}
	return b, err
}
