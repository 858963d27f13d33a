package virtiopci

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/virtio"
)

func goodQueue() QueueConfig {
	return QueueConfig{Size: 64, Desc: 0x1_2345_0000, Avail: 0x1_2345_0402, Used: 0x2_0000_0004, Vector: 2}
}

// TestSetupQueueOrder: the vector is set and read back, and all addresses are
// written, before the queue is enabled.
func TestSetupQueueOrder(t *testing.T) {
	d := newFakeDevice()
	tr := mustNegotiate(t, d)
	notifier, err := tr.SetupQueue(1, goodQueue())
	if err != nil {
		t.Fatal(err)
	}
	read := func(offset uint64, width int, value uint64) mmiotest.Access {
		return mmiotest.Access{Offset: offset, Width: width, Value: value}
	}
	want := []mmiotest.Access{
		write(commonQueueSelect, 2, 1),
		read(commonQueueSize, 2, 128),
		read(commonQueueEnable, 2, 0),
		read(commonQueueNotifyOff, 2, 3),
		write(commonQueueSize, 2, 64),
		write(commonQueueVector, 2, 2),
		read(commonQueueVector, 2, 2),
		write(commonQueueDesc, 4, 0x2345_0000),
		write(commonQueueDesc+4, 4, 1),
		write(commonQueueDriver, 4, 0x2345_0402),
		write(commonQueueDriver+4, 4, 1),
		write(commonQueueDevice, 4, 4),
		write(commonQueueDevice+4, 4, 2),
		write(commonQueueEnable, 2, 1),
	}
	if diff := cmp.Diff(want, d.bar.Log()); diff != "" {
		t.Error(diff)
	}

	d.bar.ClearLog()
	notifier.Notify()
	// queue_notify_off 3, multiplier 4: two bytes, the queue's index.
	if diff := cmp.Diff([]mmiotest.Access{write(fakeNotify+12, 2, 1)}, d.bar.Log()); diff != "" {
		t.Error(diff)
	}
}

func TestNumQueuesAndSize(t *testing.T) {
	tr := mustNegotiate(t, newFakeDevice())
	if tr.NumQueues() != 2 || tr.QueueMaxSize(0) != 128 || tr.QueueMaxSize(1) != 128 || tr.QueueMaxSize(2) != 0 {
		t.Errorf("%d queues of %d, %d, %d", tr.NumQueues(), tr.QueueMaxSize(0), tr.QueueMaxSize(1), tr.QueueMaxSize(2))
	}
}

func TestSetupQueueWithoutVector(t *testing.T) {
	tr := mustNegotiate(t, newFakeDevice())
	cfg := goodQueue()
	cfg.Vector = virtio.NoVector
	if _, err := tr.SetupQueue(0, cfg); err != nil {
		t.Error(err)
	}
}

func TestSetupQueueRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		queue   uint16
		change  func(*QueueConfig)
		arrange func(*fakeDevice)
		says    string
	}{
		"no such queue":       {2, nil, nil, "no such queue, only 2"},
		"size 0":              {0, func(c *QueueConfig) { c.Size = 0 }, nil, "want 1 to 128"},
		"odd size":            {0, func(c *QueueConfig) { c.Size = 100 }, nil, "power of two up to 128"},
		"large size":          {0, func(c *QueueConfig) { c.Size = 256 }, nil, "want 1 to 128"},
		"large packed":        {0, func(c *QueueConfig) { c.Size, c.Packed = 129, true }, nil, "want 1 to 128"},
		"driver area at 2":    {0, func(c *QueueConfig) { c.Avail, c.Packed = c.Avail&^3+2, true }, nil, "alignments of 16, 4, 4"},
		"desc misaligned":     {0, func(c *QueueConfig) { c.Desc += 8 }, nil, "alignments"},
		"avail misaligned":    {0, func(c *QueueConfig) { c.Avail++ }, nil, "alignments"},
		"used misaligned":     {0, func(c *QueueConfig) { c.Used += 2 }, nil, "alignments"},
		"vector not taken":    {0, func(c *QueueConfig) { c.Vector = 4 }, nil, "vectors=N"},
		"not really reset":    {0, nil, func(d *fakeDevice) { d.queues[0].enabled = 1 }, "enabled still"},
		"notify out of range": {0, nil, func(d *fakeDevice) { d.queues[0].notifyOff = 0x400 }, "notification register"},
		"notify far away":     {0, nil, func(d *fakeDevice) { d.queues[0].notifyOff = 0xffff }, "notification register"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDevice()
			tr := mustNegotiate(t, d)
			cfg := goodQueue()
			if c.change != nil {
				c.change(&cfg)
			}
			if c.arrange != nil {
				c.arrange(d)
			}
			_, err := tr.SetupQueue(c.queue, cfg)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "0000:00:05.0: set up queue") {
				t.Errorf("error: %v", err)
			}
			if d.status()&virtio.StatusFailed == 0 {
				t.Errorf("status 0x%02x, not FAILED", d.status())
			}
			for _, a := range d.bar.Writes() {
				if a.Offset == commonQueueEnable {
					t.Error("the queue was enabled")
				}
			}
		})
	}
}

func TestConfigVector(t *testing.T) {
	d := newFakeDevice()
	tr := mustNegotiate(t, d)
	if err := tr.SetConfigVector(3); err != nil {
		t.Fatal(err)
	}
	want := []mmiotest.Access{write(commonConfigVector, 2, 3), {Offset: commonConfigVector, Width: 2, Value: 3}}
	if diff := cmp.Diff(want, d.bar.Log()); diff != "" {
		t.Error(diff)
	}
	if err := tr.SetConfigVector(4); err == nil || d.status()&virtio.StatusFailed == 0 {
		t.Errorf("a vector that the device does not have: %v, status 0x%02x", err, d.status())
	}
}
