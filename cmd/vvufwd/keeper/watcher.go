package keeper

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// opener is what a watcher needs of vfio.Container.
type opener interface {
	OpenFiles(pci.Address) (vfio.Files, error)
}

// watcher follows one function.
type watcher struct {
	function pci.Address
	sysfs    pci.Sysfs
	opener   opener
	bind     bool
	pause    time.Duration // between two looks
	retry    time.Duration // until a function that vvufwd could not use is opened again

	known   uint64 // which of the functions that were there vvufwd has or had: see pci.Sysfs.Identity
	binding uint64 // and as bound when: see pci.Sysfs.BindingIdentity
	left    bool   // it has left vfio-pci since

	before pci.Binding // what was done to the function, by us when it came or before, see Config.Bindings
	kept   bool        // vvufwd has taken over, and has not said that it is to be given back
	asked  bool        // it has said so
}

const (
	lookPause = 250 * time.Millisecond
	// settleTime is how long a function that is back may take until it can be opened: its
	// group and the file for that come with the driver.
	settleTime = 5 * time.Second
	// retryTime is for what a driver waits for in vain: firmware, or the physical function of
	// a virtual one. It is spent here, with the device closed, as the kernel may want it back.
	retryTime = 5 * time.Second
)

// newWatcher is for a function that vvufwd has opened.
func newWatcher(function pci.Address, sysfs pci.Sysfs, opener opener, bind bool) *watcher {
	w := &watcher{function: function, sysfs: sysfs, opener: opener, bind: bind, pause: lookPause, retry: retryTime}
	w.known, _ = sysfs.Identity(function) // 0: it has gone already
	w.binding, _ = sysfs.BindingIdentity(function)
	return w
}

// giveBack undoes what was done to the function, at the end, unless someone else has done something to it since.
func (w *watcher) giveBack() error {
	if w.kept || !w.there() || !w.stillBound() {
		return nil
	}
	if err := w.sysfs.Undo(w.before); err != nil && w.there() {
		return err
	}
	return nil // or it was unplugged meanwhile
}

// there reports whether the function is there that vvufwd had last.
func (w *watcher) there() bool {
	identity, err := w.sysfs.Identity(w.function)
	return err == nil && identity == w.known
}

// stillBound reports whether the function has been bound to vfio-pci ever since vvufwd had it last.
func (w *watcher) stillBound() bool {
	binding, err := w.sysfs.BindingIdentity(w.function)
	if err != nil || binding != w.binding {
		return false
	}
	info, err := w.sysfs.Device(w.function)
	return err == nil && info.BoundToVFIO()
}

// leaves notes that the function has left vfio-pci: what it was bound to before is of no interest any more.
func (w *watcher) leaves() { w.left, w.before = true, pci.Binding{} }

// errEnded says that no one waits any more.
var errEnded = errors.New("vvufwd has ended")

// await waits until the function has left vfio-pci and is there again, and opens it. One
// that was there all the time, unbound by hand, is left alone until it is bound to vfio-pci
// by hand, which can happen between two looks; a new one is bound, if functions are. If
// vvufwd asks again, one that has not left in a while counts as back.
func (w *watcher) await(ended func() bool, again bool) (vfio.Files, error) {
	asked := time.Now()
	var since time.Time // the function is back
	for ; !ended(); time.Sleep(w.pause) {
		if again && time.Since(asked) >= w.retry {
			w.left = true
		}
		identity, err := w.sysfs.Identity(w.function)
		if err != nil {
			w.leaves()
			since = time.Time{}
			continue
		}
		renewed := identity != w.known
		if binding, err := w.sysfs.BindingIdentity(w.function); err == nil && binding != w.binding {
			w.leaves()
		}
		info, err := w.sysfs.Device(w.function)
		bound := err == nil && info.BoundToVFIO()
		switch {
		case bound && !w.left && !renewed:
			continue // the kernel has not taken it away yet
		case !bound && !renewed:
			w.leaves()
			since = time.Time{}
			continue // someone may bind it again
		case !bound && !w.bind:
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		var files vfio.Files
		if !bound {
			if w.before, err = w.sysfs.Bind(w.function, "vfio-pci"); err == nil {
				w.known, w.left = identity, true // to be given back even if it cannot be opened
				w.binding, _ = w.sysfs.BindingIdentity(w.function)
			}
		}
		if err == nil {
			files, err = w.opener.OpenFiles(w.function)
		}
		if err == nil {
			w.known, w.left = identity, false
			w.binding, _ = w.sysfs.BindingIdentity(w.function) // which no one can change while we have it open
			return files, nil
		}
		if time.Since(since) > settleTime {
			return vfio.Files{}, fmt.Errorf("it cannot be opened: %w", err)
		}
	}
	return vfio.Files{}, errEnded
}
