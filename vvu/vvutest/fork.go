package vvutest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/vvu/vhostuser"
)

// ForkConfig says in what a Fork differs from the usual.
type ForkConfig struct {
	Vectors        int    // MSI-X vectors; the fork's default of 1027 if 0
	BARSize        uint64 // bytes of BAR 2; 64 MiB if 0
	Without        byte   // type of a capability that is missing, 0 for none
	RefuseFeatures bool   // FEATURES_OK does not stick

	// Hesitates is how long the device has been connected before it reads from the socket:
	// in QEMU the main loop does that, after the processor that goes on writing registers.
	Hesitates time.Duration
}

// Fork is a virtio-vhost-user device that behaves like the 2019 QEMU fork's
// (contract, sections 1 to 6): its states, its masks, its places in the BAR and
// its quirks. It fails the test when the driver does what the fork does not
// stand or what costs the driver dearly: register accesses of the wrong width,
// writes to read-only fields, a message without a front-end that makes the fork
// abort.
//
// Its methods may be called concurrently.
type Fork struct {
	t         testing.TB
	cfg       ForkConfig
	pci       []byte         // configuration space
	registers *mmiotest.Fake // BAR 4
	resources *mmiotest.Fake // BAR 2 up to the shared memory
	bar       *barMemory
	listener  *net.UnixListener
	path      string
	workers   sync.WaitGroup

	mu   sync.Mutex
	cond *sync.Cond // on mu: anything below has changed
	done bool

	vectors   []int // eventfds of the enabled vectors
	uses      []int // by vector: how many sources it was given to
	driverRAM []mem.Region
	nextIOVA  uint64

	// Virtio.
	status       uint8
	isr          uint8
	generation   uint8
	offerSelect  uint32
	driverSelect uint32
	accepted     virtio.Features
	configVector uint16
	queueSelect  uint16
	queues       [2]forkQueue

	// The device's own.
	state         forkState
	frontend      *vhostuser.Conn // whose socket is open, nil without one; the state may not know of it
	session       int             // counts the sessions that ended
	reads         bool            // the device has hesitated for long enough, in session readsIn
	readsIn       int
	notifySelect  uint16
	rings         [forkRings]forkRing
	holdReplies   bool
	refuseVectors bool
	flood         *vhostuser.Message // see Flood
	lostReplies   int
	raised        int // how often the driver set SLAVE_UP
}

// forkRing is what the device knows of a vring of the front-end.
type forkRing struct {
	vector uint16
	kick   *os.File // nil if there is none
	call   int      // -1 if there is none
}

const (
	forkRings   = 1024 // max_vhost_queues
	forkVectors = forkRings + 3
	forkBARSize = 64 << 20
)

// NewFork plugs a device in. Its socket, see Path, takes front-ends at once.
func NewFork(t testing.TB, cfg ForkConfig) *Fork {
	t.Helper()
	if cfg.Vectors == 0 {
		cfg.Vectors = forkVectors
	}
	if cfg.BARSize == 0 {
		cfg.BARSize = forkBARSize
	}
	f := &Fork{
		t: t, cfg: cfg, pci: forkConfigSpace(cfg.Without),
		registers: mmiotest.NewFake(barRegistersSize), resources: mmiotest.NewFake(sharedMemoryAt),
		bar: newBARMemory(t, cfg.BARSize), path: filepath.Join(t.TempDir(), "vhost-user"),
		uses: make([]int, cfg.Vectors), nextIOVA: 1 << 32,
	}
	f.cond = sync.NewCond(&f.mu)
	for i := range f.rings {
		f.rings[i] = forkRing{vector: virtio.NoVector, call: -1}
	}
	f.registers.OnLoad, f.registers.OnStore = f.loadRegister, f.storeRegister
	f.resources.OnLoad, f.resources.OnStore = f.loadResource, f.storeResource
	f.reset()
	var err error
	if f.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	f.workers.Go(f.accept)
	t.Cleanup(f.close)
	return f
}

// Path is the socket for front-ends.
func (f *Fork) Path() string { return f.path }

// close unplugs the device.
func (f *Fork) close() {
	f.listener.Close()
	f.mu.Lock()
	f.done = true
	if f.frontend != nil {
		f.frontend.Close()
	}
	f.dropResources()
	for _, fd := range f.vectors {
		unix.Close(fd)
	}
	f.vectors = nil
	f.cond.Broadcast()
	f.mu.Unlock()
	f.workers.Wait()
}

// accept takes one front-end after the other: the chardev listens again when the
// one before is gone.
func (f *Fork) accept() {
	for {
		sock, err := f.listener.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				f.t.Errorf("fork: accept: %v", err)
			}
			return
		}
		f.serve(vhostuser.NewConn(sock))
	}
}

// dropResources closes kicks and calls. A vector whose kick was there is taken
// from its ring; memory stays in the BAR. mu is held.
func (f *Fork) dropResources() {
	for i := range f.rings {
		if f.rings[i].kick != nil {
			f.setKick(i, -1)
			f.setRingVector(i, virtio.NoVector)
		}
		f.setCall(i, -1)
	}
}

// needsReset is virtio_error: the device works no more until it is reset. mu is
// held.
func (f *Fork) needsReset() {
	f.status |= virtio.StatusNeedsReset
	f.configChanged()
}

// configChanged tells the driver to look at the configuration; mu is held.
func (f *Fork) configChanged() {
	f.generation++
	if f.status&virtio.StatusDriverOK != 0 {
		f.isr |= 3 // both bits, always
		f.interrupt(f.configVector)
	}
}

// reset is a virtio reset. Every vector loses its users, but the numbers of the
// rings stay in their registers unless their kick was open. mu is held, or
// no one knows the device yet.
func (f *Fork) reset() {
	f.resetConnection()
	f.status, f.isr, f.offerSelect, f.driverSelect, f.queueSelect = 0, 0, 0, 0, 0
	f.accepted, f.configVector = 0, virtio.NoVector
	for i := range f.queues {
		f.queues[i] = forkQueue{size: forkQueueSize, vector: virtio.NoVector}
	}
	clear(f.uses)
	f.cond.Broadcast()
}
