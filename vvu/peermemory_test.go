package vvu

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu/vhostuser"
)

// ramBAR is a flatBAR that can be mapped as RAM.
type ramBAR struct {
	*flatBAR
	mapped []uint64 // bar, off, size
	err    error
}

func (r *ramBAR) MapRAM(bar int, off, size uint64, _ *os.File) error {
	r.mapped = []uint64{uint64(bar), off, size}
	return r.err
}

// memoryRig is a device whose shared memory is where loc says, with registers in BAR 2.
func memoryRig(t *testing.T, loc virtiopci.Location) (*ramBAR, *Device, *zap.Logger, *observer.ObservedLogs) {
	flat, d := newFlatBAR(t, 1<<20)
	bar := &ramBAR{flatBAR: flat}
	d.pci, d.caps.SharedMemory = bar, loc
	d.caps.Doorbell = virtiopci.Location{BAR: 2, Length: 0x1000, Present: true}
	core, logs := observer.New(zap.InfoLevel)
	return bar, d, zap.New(core), logs
}

// said is the one line that has text in its message or fields, or "".
func said(logs *observer.ObservedLogs, text string) string {
	for _, e := range logs.All() {
		line := e.Level.String() + " " + e.Message
		for _, f := range e.Context {
			if err, ok := f.Interface.(error); ok {
				line += " " + err.Error()
			}
			line += " " + f.String
		}
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// Memory in a BAR of its own is mapped as RAM, all of it, and measured at the start. That in a BAR
// with registers is not, as is none without /dev/mem or if that fails: it is measured
// when the first front-end is there, once.
func TestMapMemory(t *testing.T) {
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	own := virtiopci.Location{BAR: 4, Length: 0x80000, Present: true}
	for name, test := range map[string]struct {
		loc    virtiopci.Location
		devmem *os.File
		err    error
		why    string // not mapped as RAM
	}{
		"own BAR":        {loc: own, devmem: null},
		"fork's layout":  {loc: virtiopci.Location{BAR: 2, Offset: 0x3000, Length: 0x1000, Present: true}, devmem: null, why: "BAR 2 has registers too"},
		"no /dev/mem":    {loc: own, why: "CAP_SYS_RAWIO"},
		"kernel refuses": {loc: own, devmem: null, err: errors.New("not permitted"), why: "not permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			bar, d, log, logs := memoryRig(t, test.loc)
			bar.err = test.err
			d.MapMemory(test.devmem, log)
			if test.why == "" {
				if want := []uint64{4, 0, 0x80000}; len(bar.mapped) != 3 || bar.mapped[0] != want[0] || bar.mapped[1] != want[1] || bar.mapped[2] != want[2] {
					t.Errorf("mapped %x, want %x", bar.mapped, want)
				}
				if said(logs, "/dev/mem") == "" || said(logs, "ordinary memory") == "" {
					t.Errorf("it said %v", logs.All())
				}
			} else if line := said(logs, test.why); !strings.Contains(line, "VFIO") || said(logs, "as fast as") != "" {
				t.Errorf("it said %v, want why: %s", logs.All(), test.why)
			}
			before := logs.Len()
			for range 2 {
				_, err := d.Map([]vhostuser.MemoryRegion{{GPA: 0, Size: 0x2000, UVA: 0x1000}})
				must(t, err)
			}
			if n := logs.Len() - before; n > 1 || n == 1 && test.why == "" {
				t.Errorf("%d more lines when front-ends came", n)
			}
			if said(logs, "ordinary memory") == "" {
				t.Error("nothing was measured")
			}
		})
	}
}

// Slow memory is worth one line that says what to do.
func TestSlowMemory(t *testing.T) {
	for _, test := range []struct {
		memory      peerMemory
		shared, own time.Duration
		says        []string
	}{
		{peerMemory{through: "VFIO", why: errNoDevMem}, 100 * time.Microsecond, time.Microsecond, []string{"warn", "100 times as slow", "AMD", "iomem=relaxed", "CAP_SYS_RAWIO"}},
		{peerMemory{through: "/dev/mem"}, 30 * time.Microsecond, time.Microsecond, []string{"warn", "30 times", "MTRR", "SeaBIOS"}},
		{peerMemory{through: "VFIO", why: errNoDevMem}, 9 * time.Microsecond, time.Microsecond, []string{"info", "as fast as"}},
	} {
		core, logs := observer.New(zap.InfoLevel)
		test.memory.log = zap.New(core)
		test.memory.say(test.shared, test.own)
		for _, part := range test.says {
			if said(logs, part) == "" || logs.Len() != 1 {
				t.Errorf("%v of %v: it said %v, want %q", test.shared, test.own, logs.All(), part)
			}
		}
	}
	if d := loadTime(make([]byte, page)); d <= 0 || d > time.Second {
		t.Errorf("reading a page of ordinary memory took %v", d)
	}
}
