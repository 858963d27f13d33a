package vfio

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

// ask is what the kernel does when someone wants the device back.
func (k *fakeKernel) ask(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := unix.Write(k.request, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
}

func TestAwaitRequest(t *testing.T) {
	for _, able := range []bool{true, false} {
		m := newMachine(t)
		m.kernel.noRequests = !able
		_, d := m.open()
		ended := errors.New("on purpose")
		ctx, cancel := context.WithCancelCause(t.Context())
		got := make(chan error, 1)
		go func() { got <- d.AwaitRequest(ctx) }()
		if able {
			m.kernel.ask(t)
			if err := <-got; err != ErrRequested {
				t.Errorf("it returned %v", err)
			}
			go func() { got <- d.AwaitRequest(ctx) }() // the request stands until the device is released
			if err := <-got; err != ErrRequested {
				t.Errorf("the second time it returned %v", err)
			}
		} else {
			cancel(ended)
			if err := <-got; err != ended {
				t.Errorf("without requests it returned %v", err)
			}
		}
		cancel(ended)
	}
}

func TestAwaitRequestEnds(t *testing.T) {
	_, d := newMachine(t).open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := d.AwaitRequest(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it returned %v", err)
	}
}

// TestRelease lets devices go, and takes them back with files of another process. The kernel
// takes a device away when neither it nor its group is open; with the last group all
// mappings are lost.
func TestRelease(t *testing.T) {
	m := newMachine(t)
	c, first := m.open()
	second, err := c.Open(pci.Address{Device: 6}) // in another group
	m.check(err)
	_, err = first.Arena().Alloc(4096, 4096)
	m.check(err)
	mappings := len(m.kernel.mapped)
	if mappings == 0 {
		t.Fatal("nothing is mapped")
	}

	opener := m.opener(c)
	open := countFiles()
	m.check(first.Release())
	if n := countFiles(); n != open-3 {
		t.Errorf("%d files were closed, want the device, its eventfd and its group", open-n)
	}
	files, err := opener.OpenFiles(pci.Address{Device: 4})
	m.check(err)
	first, err = c.Adopt(pci.Address{Device: 4}, files)
	m.check(err)
	if n := countFiles(); n != open || len(m.kernel.mapped) != mappings {
		t.Errorf("%d files are open, want %d; %d mappings, want %d", n, open, len(m.kernel.mapped), mappings)
	}

	m.check(first.Release())
	m.check(second.Release())
	clear(m.kernel.mapped) // as the kernel does
	m.kernel.lostIOMMU = true
	m.kernel.calls = nil
	files, err = opener.OpenFiles(pci.Address{Device: 6})
	m.check(err)
	m.kernel.lostIOMMU = false
	second, err = c.Adopt(pci.Address{Device: 6}, files)
	m.check(err)
	if len(m.kernel.mapped) != mappings {
		t.Errorf("%d mappings after all was lost, want %d", len(m.kernel.mapped), mappings)
	}
	set := 0
	for _, call := range m.kernel.calls {
		if call == "set IOMMU 3" {
			set++
		}
	}
	if set != 1 {
		t.Errorf("the IOMMU model was set %d times: %v", set, m.kernel.calls)
	}
	m.check(second.Release())
	clear(m.kernel.mapped)
	m.check(c.Close()) // whose memory is mapped no more
}

// TestAdoptFails leaves nothing open.
func TestAdoptFails(t *testing.T) {
	m := newMachine(t)
	c, d := m.open()
	m.check(d.Release())
	open := countFiles()
	opener := m.opener(c)
	files, err := opener.OpenFiles(pci.Address{Device: 4})
	m.check(err)
	delete(m.kernel.regions, 7) // no configuration space
	if _, err := c.Adopt(pci.Address{Device: 4}, files); err == nil {
		t.Error("a device without configuration space was adopted")
	}
	m.kernel.openDevice = os.ErrPermission
	if _, err := opener.OpenFiles(pci.Address{Device: 4}); err == nil {
		t.Error("a device that does not open was opened")
	}
	if n := countFiles(); n != open {
		t.Errorf("%d files are open, want %d", n, open)
	}
}

// TestAdoptTogether has two devices come back at once when all mappings are lost, and the memory cannot be
// mapped for the first: the second maps it, rather than that it takes what the first had begun for done.
func TestAdoptTogether(t *testing.T) {
	m := newMachine(t)
	c, first := m.open()
	second, err := c.Open(pci.Address{Device: 6})
	m.check(err)
	for range 8 {
		_, err = first.Arena().Alloc(2<<20, 4096)
		m.check(err)
	}
	mappings := len(m.kernel.mapped)
	opener := m.opener(c)
	m.check(first.Release())
	m.check(second.Release())
	clear(m.kernel.mapped) // as the kernel does
	files, err := opener.OpenFiles(pci.Address{Device: 4})
	m.check(err)
	others, err := opener.OpenFiles(pci.Address{Device: 6})
	m.check(err)

	mapped := 0
	came := make(chan error, 1)
	m.kernel.onMap = func() error {
		defer time.Sleep(10 * time.Millisecond) // for the second to come as far as it can
		switch mapped++; mapped {
		case 1:
			go func() {
				_, err := c.Adopt(pci.Address{Device: 6}, others)
				came <- err
			}()
		case mappings:
			clear(m.kernel.mapped) // this one leaves, and is the only one
			return unix.ENOMEM
		}
		return nil
	}
	if _, err := c.Adopt(pci.Address{Device: 4}, files); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("the first came with %v", err)
	}
	m.check(<-came)
	if len(m.kernel.mapped) != mappings {
		t.Errorf("%d mappings for the second, want %d", len(m.kernel.mapped), mappings)
	}
}
