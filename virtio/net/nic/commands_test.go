package virtionic

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
	"unsafe"

	"vvufwd/vfio/dma"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// heapMemory plays the DMA allocator: memory at addresses that only the fake
// device understands.
type heapMemory struct{ regions []mem.Region }

func (h *heapMemory) Alloc(size, align int) (dma.Memory, error) {
	words := make([]uint64, (size+7)/8+align/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (align - 1)
	b = b[skip : skip+size]
	iova := dma.IOVA(0x1_0000_0000 * uint64(len(h.regions)+1))
	h.regions = append(h.regions, mem.Region{GPA: mem.GPA(iova), Mem: b})
	return dma.Memory{Bytes: b, IOVA: iova}, nil
}

// commandDevice is the device's side of a control queue. Like cloud-hypervisor's it wants the command, what belongs to it, and
// room for the answer in a buffer each, and counts all of them as used.
type commandDevice struct {
	ring   *vring.Device
	answer []byte // to the commands, one byte each; none is given after the last
	got    [][]byte
	shape  []int // of the last command: the lengths of its buffers
}

// Notify carries out what the driver offers.
func (d *commandDevice) Notify() {
	var c vring.Chain
	for d.ring.ResetViews(); d.ring.Available() > 0 && len(d.answer) > 0 && d.ring.Pop(&c); d.ring.ResetViews() {
		d.got, d.shape = append(d.got, bytes.Join(c.Read, nil)), nil
		for _, b := range slices.Concat(c.Read, c.Write) {
			d.shape = append(d.shape, len(b))
		}
		c.Write[0][0] = d.answer[0]
		d.answer = d.answer[1:]
		d.ring.Push(c.Head, c.ReadLen+c.WriteLen)
		d.ring.Publish()
	}
}

func newCommandRig(t *testing.T, answers ...byte) (*Device, *commandDevice) {
	t.Helper()
	memory := &heapMemory{}
	ring, buffer, err := newCommandRing(memory, virtio.EventIdx, commandEntries)
	if err != nil {
		t.Fatal(err)
	}
	table, err := mem.New(memory.regions)
	if err != nil {
		t.Fatal(err)
	}
	desc, avail, used := ring.Addresses()
	device, err := vring.NewDevice(vring.DeviceConfig{Size: commandEntries, Mem: table, Desc: mem.GPA(desc), Avail: mem.GPA(avail), Used: mem.GPA(used), EventIdx: true})
	if err != nil {
		t.Fatal(err)
	}
	d := &commandDevice{ring: device, answer: answers}
	return &Device{name: "nic", Features: virtio.NetMQ, commands: &commands{ring: ring, memory: buffer, notify: d, patience: 20 * time.Millisecond}}, d
}

func TestSpread(t *testing.T) {
	nic, device := newCommandRig(t, 0, 0, 0, 0, 0, 1, 0)
	for i := range 5 { // more than the queue has entries for
		if err := nic.Spread(i + 1); err != nil {
			t.Fatal(err)
		}
		if want := []byte{4, 0, byte(i + 1), 0}; !bytes.Equal(device.got[i], want) {
			t.Errorf("the device was told % x, want % x", device.got[i], want)
		}
		if want := []int{2, 2, 1}; !slices.Equal(device.shape, want) {
			t.Errorf("in buffers of %d bytes, want %d", device.shape, want)
		}
	}
	if err := nic.Spread(300); !errors.Is(err, ErrRefused) {
		t.Errorf("a refusal is %v", err)
	}
	if want := []byte{4, 0, 300 & 0xff, 300 >> 8}; !bytes.Equal(device.got[5], want) {
		t.Errorf("the device was told % x, want % x", device.got[5], want)
	}
	if err := nic.Spread(1); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
	if err := (&Device{}).Spread(1); err != nil {
		t.Errorf("without a control queue: %v", err)
	}
}

// A command of one byte is as long as it is.
func TestShortCommand(t *testing.T) {
	nic, device := newCommandRig(t, 0, 0)
	if err := errors.Join(nic.Spread(0x102), nic.commands.do(classRX, rxPromisc, 1)); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 0, 1}; !bytes.Equal(device.got[1], want) || !slices.Equal(device.shape, []int{2, 1, 1}) {
		t.Errorf("the device was told % x in buffers of %d bytes, want % x", device.got[1], device.shape, want)
	}
}

// A device that does not answer is waited for once, and its buffer stays its own.
func TestSpreadWithoutAnswer(t *testing.T) {
	nic, _ := newCommandRig(t)
	for range 3 {
		if err := nic.Spread(2); !errors.Is(err, errUnanswered) {
			t.Fatalf("no answer is %v", err)
		}
	}
	if nic.commands.ring.Outstanding() != 1 {
		t.Errorf("%d commands are on their way, want 1", nic.commands.ring.Outstanding())
	}
	late, device := newCommandRig(t)
	if err := late.Spread(2); !errors.Is(err, errUnanswered) {
		t.Fatal(err)
	}
	device.answer = []byte{0, 0}
	device.Notify() // the answer to that
	if err := late.Spread(3); err != nil {
		t.Errorf("after a late answer: %v", err)
	}
	silent, _ := newCommandRig(t, noAnswer) // it says that it is done, and has written nothing
	if err := silent.Spread(2); !errors.Is(err, ErrRefused) {
		t.Errorf("an empty answer is %v", err)
	}
}
