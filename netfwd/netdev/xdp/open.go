package xdp

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// Options are what is asked for.
type Options struct {
	Mode   Mode // and no other; empty: the best that there is
	Driver bool // only modes in which the interface's driver runs the program, so not Generic
	Queues int  // at most

	// Stopped reports whether not to wait any longer for what is busy: Open fails then. Nil: never.
	Stopped func() bool `json:"-"`
}

// opening is an interface that is being opened.
type opening struct {
	properties
	asked   Options
	program *program
	mtu     int
}

// Open opens sockets at all queues of an interface, which is promiscuous from then on until the
// files are closed, and gives them all that arrives.
func Open(name string, o Options) (files []*os.File, err error) {
	socket, err := netdev.SocketFor(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	index, state, err := netdev.Ethernet(socket, name)
	if err != nil {
		return nil, err
	}
	if err := checkKernel(); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	op := &opening{asked: o, mtu: state.MTU, properties: properties{Index: index, Name: name}}
	op.properties.Driver, _ = netdev.Driver(name)
	if err := op.countQueues(); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	if files, err = op.open(); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, explain(err))
	}
	return files, nil
}

// checkKernel makes sure that there are sockets of this kind, and that we may make them.
func checkKernel() error {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socketError(err)
	}
	return unix.Close(fd)
}

// socketError says what to do where no socket can be made.
func socketError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("AF_XDP takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: run as root")
	case errors.Is(err, unix.EAFNOSUPPORT):
		return errors.New("the kernel has no AF_XDP: use one with CONFIG_XDP_SOCKETS, or --port packet:INTERFACE")
	case err != nil:
		return fmt.Errorf("AF_XDP socket: %w", err)
	}
	return nil
}

// explain says what to do about an error of the kernel.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: AF_XDP takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: run as root", err)
	case errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%w: too little memory may be locked: raise it (ulimit -l unlimited)", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: another program has it; end that", err)
	}
	return err
}

// open tries one mode after the other.
func (op *opening) open() (files []*os.File, err error) {
	o := &op.asked
	if err := op.checkFree(); err != nil {
		return nil, err
	}
	if op.program, err = load(o.Queues); err != nil {
		return nil, err
	}
	defer op.program.close()
	for _, op.Mode = range []Mode{ZeroCopy, Native, Generic} {
		if o.Mode != "" && o.Mode != op.Mode || o.Driver && op.Mode == Generic {
			continue
		}
		if files, err = op.try(); err == nil || final(err) {
			break
		}
		if op.Why != "" {
			op.Why += "; "
		}
		op.Why += fmt.Sprintf("no %s: %v", op.Mode, err)
	}
	switch {
	case errors.As(err, new(*moreQueuesError)):
		return nil, fmt.Errorf("mode=%s: %w", o.Mode, err)
	case err != nil && o.Mode != "" && !final(err):
		remedy := joinerOf(op.Name).remedy(op.Name, err)
		if remedy == "" {
			return nil, fmt.Errorf("mode=%s: %w: leave the mode to vvufwd", o.Mode, err)
		}
		return nil, fmt.Errorf("mode=%s: %w: the driver does not have it, at least not as it is set up: %s, or leave the mode to vvufwd", o.Mode, err, remedy)
	case err != nil && o.Driver && !final(err):
		return nil, fmt.Errorf("AF_XDP without help from the driver is slower: %s", op.Why)
	}
	if err != nil {
		return nil, err
	}
	if most := op.maxMTU(); most != 0 && op.mtu > most {
		return nil, errors.Join(fmt.Errorf("its MTU is %d, and frames of AF_XDP have one of at most %d here: ip link set %s mtu %d, or use packet:%s", op.mtu, most, op.Name, most, op.Name), closeAll(files))
	}
	return op.withProperties(files)
}

// final reports whether an error is one that no other mode is without.
func final(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.ENOBUFS, unix.ENOMEM, unix.EBUSY, unix.ENODEV, unix.ENETDOWN, unix.EMFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// countQueues finds out how many queues there are now.
func (op *opening) countQueues() error {
	socket, err := netdev.Socket()
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	op.Queues, err = queuesOf(socket, op.Name, op.asked.Queues)
	return err
}

// refuseMore is for a driver that has more queues than before as soon as it has a program. So has virtio_net, one more for each CPU, if
// there can be as many. Frames come at them like at others, but nothing leaves through them. With zero copy, when the program goes
// before the socket, as when its owner is killed, the driver even goes on using a umem that is freed (virtnet_xsk_pool_disable), and the
// kernel fails when the next program comes: seen with Linux 7.3.
func (op *opening) refuseMore(before int) error {
	if op.Mode == Generic || op.Queues <= before {
		return nil
	}
	return &moreQueuesError{op.Name, before, op.Queues}
}

// moreQueuesError is what refuseMore says.
type moreQueuesError struct {
	name        string
	queues, all int
}

func (e *moreQueuesError) Error() string {
	return fmt.Sprintf("with an XDP program it has %d queues, and those beyond %d do not send: let it have all before (ethtool -L %s combined %d)", e.all, e.queues, e.name, e.all)
}

// checkFree makes sure that the interface has no program yet. That of a vvufwd that was killed is waited for.
func (op *opening) checkFree() error {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		id, _, err := attached(op.Index)
		if err != nil || id == 0 {
			return err
		}
		program, going := describeProgram(id)
		if going && op.waits(end) {
			continue
		}
		return fmt.Errorf("it has an XDP program already (%s): end what has attached it, or ip link set %s xdp off", program, op.Name)
	}
}

// How long what is busy may be so, since whoever had it has ended, and how long to wait between
// two looks. The kernel takes its time where interfaces come and go on a busy machine.
const (
	patience = 5 * time.Second
	pause    = 20 * time.Millisecond
)

// waits reports whether to look again at what is busy, at most until end.
func (op *opening) waits(end time.Time) bool {
	return time.Now().Before(end) && (op.asked.Stopped == nil || !op.asked.Stopped())
}

// try opens the interface in the mode that is set, with frames in several chunks if that can be.
func (op *opening) try() (files []*os.File, err error) {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		op.Parts = op.program.parts
		files, err = op.tryOnce()
		if op.Parts && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)) {
			op.Parts = false
			files, err = op.tryOnce()
		}
		if !errors.Is(err, unix.EBUSY) || !op.waits(end) {
			return files, err
		}
	}
}

// tryOnce attaches the program, and binds a socket to each queue.
func (op *opening) tryOnce() (files []*os.File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(files))
			files = nil
		}
	}()
	if err := op.countQueues(); err != nil { // those of the attempt before may have been more
		return nil, err
	}
	link, err := op.program.attach(op.Index, op.Mode)
	if err != nil {
		return nil, err
	}
	files = append(files, link)
	promiscuous, err := promiscuous(op.Index)
	if err != nil {
		return files, err
	}
	files = append(files, promiscuous)
	before := op.Queues
	if err := op.countQueues(); err != nil {
		return files, fmt.Errorf("with an XDP program %w", err)
	}
	if err := op.refuseMore(before); err != nil {
		return files, err
	}
	op.Chunk = chunkFor(op.Mode, op.mtu)
	op.Metadata = op.completes()
	if err := op.tryBind(); err != nil {
		return files, err
	}
	for queue := range op.Queues {
		socket, umem, err := op.unbound(queue)
		if err != nil {
			return files, err
		}
		files = append(files, socket, umem)
		raw, err := socket.SyscallConn()
		if err != nil {
			return files, err
		}
		e := raw.Control(func(fd uintptr) { err = op.program.sockets.Put(uint32(queue), uint32(fd)) })
		if err = errors.Join(e, err); err != nil {
			return files, fmt.Errorf("give queue %d its socket: %w", queue, err)
		}
	}
	return files, nil
}

// completes reports whether checksums in what is sent may be left undone: with zero copy if the driver says so, else if the kernel heeds
// what is said of a frame. Of frames for virtio_net, which takes them from where they are (IFF_TX_SKB_NO_LINEAR), it does not, and sends
// them as they are: seen with Linux 6.12.
func (op *opening) completes() bool {
	if op.Mode == ZeroCopy {
		return completesChecksums(op.Index)
	}
	return op.properties.Driver != "virtio_net"
}

// withProperties puts the properties before the files.
func (op *opening) withProperties(files []*os.File) ([]*os.File, error) {
	fd, err := unix.MemfdCreate("xdp properties", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("memory for properties: %w", err), closeAll(files))
	}
	f := os.NewFile(uintptr(fd), "xdp properties")
	files = append([]*os.File{f}, files...)
	text, err := json.Marshal(op.properties)
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	return files, nil
}

// promiscuous makes an interface promiscuous for as long as the file is open.
func promiscuous(index int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // of no protocol: it receives nothing
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	m := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
		return nil, errors.Join(fmt.Errorf("make it promiscuous: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "promiscuous"), nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// mtuOf is the largest MTU whose frames have n bytes at most.
func mtuOf(n uint32) int { return int(n) - virtionet.FrameOf(0) }
