package keeper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// TestWatcher says when a function counts as back: when it was plugged in again, or was bound
// to vfio-pci again after it had been unbound. Never while the kernel is still taking it
// away, nor because it lies about without a driver.
func TestWatcher(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("vfio-pci")
	w := newWatcher(function, pci.Sysfs{Root: m.root}, m, false)
	w.pause = 0
	rounds := func(n int) func() bool { return func() bool { n--; return n < 0 } }
	again := false
	awaits := func(what string, want error) {
		t.Helper()
		files, err := w.await(rounds(20), again)
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		if err == nil && files.Group != m.opened {
			t.Fatalf("%s: got %+v", what, files)
		}
	}
	awaits("still there", errEnded)
	m.driver("")
	awaits("unbound", errEnded)
	m.driver("e1000e")
	awaits("bound to another driver", errEnded)
	m.driver("vfio-pci")
	awaits("bound again", nil)
	awaits("taken, and still there", errEnded)
	m.driver("vfio-pci")
	awaits("unbound, and bound again between two looks", nil)
	awaits("taken once more, and still there", errEnded)
	m.unplug()
	awaits("unplugged", errEnded)
	m.plug("")
	awaits("plugged in, no one binds it", errEnded)
	m.driver("vfio-pci")
	awaits("plugged in and bound", nil)
	again, w.retry = true, time.Hour
	awaits("asked for again a moment ago", errEnded)
	w.retry = 0
	awaits("asked for again, and still there", nil)
	m.driver("")
	awaits("asked for again, and unbound", errEnded)
	m.driver("vfio-pci")
	again = false
	awaits("bound by hand", nil)
	m.unplug()
	filler := filepath.Join(m.root, "inode") // so that the new one does not get the number of the old
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.plug("vfio-pci")
	if again, _ := w.sysfs.Identity(function); again != w.known {
		awaits("plugged in again between two looks", nil)
	}
}

// TestAgain: who could not use a function that is back gets it once more, though nothing was
// unplugged. A request that is none has no answer, and does not keep the line.
func TestAgain(t *testing.T) {
	m := &machine{t: t, root: t.TempDir()}
	m.plug("vfio-pci")
	opened := 0
	w := newWatcher(function, pci.Sysfs{Root: m.root}, openFunc(func() (vfio.Files, error) {
		opened++
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return vfio.Files{Mode: vfio.IOMMUFD, Group: opened, GroupFD: -1, DeviceFD: fd}, err
	}), false)
	w.pause, w.retry, w.left = 0, 0, true
	k, conn := keeperAt(t)
	ours := k.lines[function].conn
	defer conn.Close()
	served := make(chan error, 1)
	go func() { served <- serve(conn, w, newHold(function, vfio.Held{})) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, get := range []func(context.Context, pci.Address) (vfio.Files, error){k.Await, k.Again, k.Again} {
		files, err := get(ctx, function)
		if err != nil || files.Group != i+1 {
			t.Fatalf("request %d: got %+v, %v", i, files, err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
		if _, err := ours.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
	}
	ours.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestForgetsTheFormerDriver: what has left vfio-pci is not given back to the driver that it had before that.
func TestForgetsTheFormerDriver(t *testing.T) {
	for what, leave := range map[string]func(m *machine){
		"unbound":               func(m *machine) { m.driver("") },
		"unbound and bound":     func(m *machine) { m.driver("vfio-pci") },
		"unplugged":             func(m *machine) { m.unplug() },
		"it is where it was":    nil,
		"bound to another, e1k": func(m *machine) { m.driver("e1000e") },
	} {
		m := &machine{t: t, root: t.TempDir()}
		m.plug("vfio-pci")
		w := newWatcher(function, pci.Sysfs{Root: m.root}, m, true)
		w.pause, w.before = 0, pci.Binding{Function: function, Changed: true}
		if leave != nil {
			leave(m)
		}
		n := 3
		_, _ = w.await(func() bool { n--; return n < 0 }, false)
		if w.before.Changed != (leave == nil) {
			t.Errorf("%s: %+v is to be undone", what, w.before)
		}
	}
}
