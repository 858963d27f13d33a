package xdp

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// programName is what ours is called in the kernel.
const programName = "vvufwd_xdp"

// program is the XDP program of an interface, loaded: it gives each frame to the socket that sockets has for
// the queue at which it has arrived, and drops those of queues without one.
type program struct {
	*ebpf.Program
	sockets *ebpf.Map
	parts   bool // it takes frames that the driver has in several buffers
}

// Where struct xdp_md has the number of the queue, and what a program does with a frame (linux/bpf.h).
const (
	mdQueueIndex = 16
	xdpDrop      = 1
)

// Prepare does what takes files, so that Open can be called when none can be opened any more.
func Prepare() error {
	p, err := load(1) // package ebpf finds out about the kernel, once
	if err != nil {
		return err
	}
	return p.close()
}

// load loads the program, for so many queues.
func load(queues int) (p *program, err error) {
	p = &program{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Name: programName, Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(queues)})
	if err != nil {
		return p, fmt.Errorf("create a map of sockets: %w", err)
	}
	spec := &ebpf.ProgramSpec{
		Name: programName, Type: ebpf.XDP, License: "MIT",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, mdQueueIndex, asm.Word),
			asm.LoadMapPtr(asm.R1, p.sockets.FD()),
			asm.Mov.Imm(asm.R3, xdpDrop), // what becomes of frames for which there is none
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
		Flags: unix.BPF_F_XDP_HAS_FRAGS,
	}
	if p.Program, err = ebpf.NewProgram(spec); err == nil {
		p.parts = true
		return p, nil
	}
	spec.Flags = 0 // Linux before 5.18
	if p.Program, err = ebpf.NewProgram(spec); err != nil {
		return p, fmt.Errorf("load an XDP program: %w", oneLine(err))
	}
	return p, nil
}

// oneLine keeps of an error what is in its first line: the rest is the verifier's.
func oneLine(err error) error {
	text, _, more := strings.Cut(err.Error(), "\n")
	if !more {
		return err
	}
	return fmt.Errorf("%s (%w)", text, errnoOf(err))
}

// errnoOf is the system's error in another one.
func errnoOf(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return errors.New("see the kernel's log")
}

func (p *program) close() error {
	var errs []error
	if p.Program != nil {
		errs = append(errs, p.Program.Close())
	}
	if p.sockets != nil {
		errs = append(errs, p.sockets.Close())
	}
	return errors.Join(errs...)
}

// attach attaches the program to an interface, for as long as the file is open.
func (p *program) attach(index int, mode Mode) (*os.File, error) {
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Program: p.Program, Attach: ebpf.AttachXDP, Target: index, Flags: uint32(flags)})
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("attach an XDP program: %w", errnoOf(err))
	}
	if err != nil {
		return nil, fmt.Errorf("attach an XDP program: %w", explainRefusal(index, p.FD(), uint32(flags), errnoOf(err)))
	}
	defer l.Close() // the file has a descriptor of its own
	fd, err := unix.FcntlInt(uintptr(l.FD()), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), "XDP link"), nil
}

// describeProgram says which program it is that an interface has, and whether it may be going: one of vvufwd, or one that is no more,
// or one that cannot be looked at, which takes CAP_SYS_ADMIN.
func describeProgram(id uint32) (text string, going bool) {
	text = fmt.Sprintf("id %d", id)
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return text, true
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return text, true
	}
	return info.Name + ", " + text, info.Name == programName
}
