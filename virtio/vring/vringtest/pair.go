package vringtest

import (
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// Pair is a ring with both its sides. Driver and Device may be used by one
// goroutine each; the rest belongs to the test's own goroutine.
type Pair struct {
	Driver *vring.Driver
	Device *vring.Device
	Mem    *mem.Table // what Device sees
	Raw    Raw        // the ring's bytes

	// DeviceConfig is how Device was made, for a test that makes it again.
	DeviceConfig vring.DeviceConfig

	t      TB
	base   mem.GPA // of the buffers
	region int     // bytes in each buffer region
	end    int     // bytes of buffers altogether
	next   int     // offset of the first byte not handed out
}

// align is the alignment of what Alloc returns.
const align = 16

// NewPair makes guest memory, lays a ring out in it and joins its sides.
func NewPair(t TB, cfg Config) *Pair {
	t.Helper()
	cfg.setDefaults()
	region := cfg.HeapBytes / cfg.Regions &^ (align - 1)
	if region == 0 {
		t.Fatalf("%d bytes do not make %d regions", cfg.HeapBytes, cfg.Regions)
	}
	// The ring, 16 bytes to move the avail ring by, then the indirect tables.
	tablesAt := vring.DriverBytes(cfg.Size) + 2*align
	ringBytes := tablesAt + cfg.Size*vring.TableBytes(cfg.IndirectParts)
	take := heap
	if cfg.OffHeap {
		take = func(n int) []byte { return offHeap(t, n) }
	}
	ring := take(ringBytes)
	regions := []mem.Region{{GPA: cfg.RingBase, Mem: ring}}
	// A gap after each region: a view that runs on past its region's end lands in
	// bytes that belong to no one instead of in the region it should have gone to.
	backing := take((region + align) * cfg.Regions)
	for i := range cfg.Regions {
		off := (cfg.Regions - 1 - i) * (region + align)
		regions = append(regions, mem.Region{
			GPA: cfg.HeapBase + mem.GPA(i*region),
			Mem: backing[off : off+region : off+region],
		})
	}
	table, err := mem.New(regions)
	if err != nil {
		t.Fatalf("build the guest's memory: %v", err)
	}
	p := &Pair{Mem: table, t: t, base: cfg.HeapBase, region: region, end: region * cfg.Regions}
	p.layOut(cfg, ring, tablesAt)
	if p.Device, err = vring.NewDevice(p.DeviceConfig); err != nil {
		t.Fatalf("make the device side: %v", err)
	}
	p.advance(cfg)
	return p
}

// layOut makes the driver side, or for a ring that our own driver never makes
// chooses the places itself.
func (p *Pair) layOut(cfg Config, ring []byte, tablesAt int) {
	p.t.Helper()
	n := cfg.Size
	var desc, avail, used int // offsets into the ring's region
	if cfg.AvailAt2Mod4 {
		avail = vring.TableBytes(n) + 2
		used = (avail + vring.AvailBytes(n) + 3) &^ 3
	} else {
		dc := vring.DriverConfig{
			Size: n, Memory: ring[:vring.DriverBytes(n)], Base: uint64(cfg.RingBase),
			Packed: cfg.Packed, EventIdx: cfg.EventIdx, InOrder: cfg.InOrder, AnyUsedLen: cfg.AnyUsedLen,
		}
		if cfg.Indirect && n > 1 {
			dc.IndirectMemory = ring[tablesAt:]
			dc.IndirectBase = uint64(cfg.RingBase) + uint64(tablesAt)
			dc.IndirectParts = cfg.IndirectParts
		}
		driver, err := vring.NewDriver(dc)
		if err != nil {
			p.t.Fatalf("make the driver side: %v", err)
		}
		p.Driver = driver
		d, a, u := driver.Addresses()
		base := uint64(cfg.RingBase)
		desc, avail, used = int(d-base), int(a-base), int(u-base)
	}
	descBytes, availBytes, usedBytes := vring.Areas(n, cfg.Packed)
	p.Raw = Raw{
		Table: ring[desc : desc+descBytes],
		Avail: ring[avail : avail+availBytes],
		Used:  ring[used : used+usedBytes],
		size:  n,
	}
	p.DeviceConfig = vring.DeviceConfig{
		Size: n, Mem: p.Mem, Packed: cfg.Packed, EventIdx: cfg.EventIdx, Indirect: cfg.Indirect,
		InOrder: cfg.InOrder, ReadOnly: cfg.ReadOnly, NotifyOnEmpty: cfg.NotifyOnEmpty,
		Desc:  cfg.RingBase + mem.GPA(desc),
		Avail: cfg.RingBase + mem.GPA(avail),
		Used:  cfg.RingBase + mem.GPA(used),
	}
	if cfg.Packed {
		p.DeviceConfig.NextAvail = vring.FirstSlot
	}
}

// advance brings the indices of both sides to cfg.Start, both sides then as if
// fresh: everything decided, every notification wanted.
func (p *Pair) advance(cfg Config) {
	p.t.Helper()
	if cfg.Start == 0 {
		return
	}
	if p.Driver == nil {
		p.Raw.SetAvailIdx(cfg.Start)
		p.Raw.SetUsedIdx(cfg.Start)
		p.DeviceConfig.NextAvail = cfg.Start
		device, err := vring.NewDevice(p.DeviceConfig)
		if err != nil {
			p.t.Fatalf("make the device side: %v", err)
		}
		p.Device = device
		return
	}
	part := []vring.Part{{Addr: uint64(p.base), Len: 1}}
	var c vring.Chain
	var u vring.Used
	for left := int(cfg.Start); left > 0; {
		burst := min(left, cfg.Size)
		for range burst {
			if _, err := p.Driver.Add(part, nil); err != nil {
				p.t.Fatalf("advance the ring: add: %v", err)
			}
		}
		p.Driver.Publish()
		for p.Device.Available() > 0 {
			for p.Device.Pop(&c) {
				p.Device.Push(c.Head, 0)
				p.Device.ResetViews()
			}
		}
		p.Device.Publish()
		for p.Driver.Completed(); p.Driver.Take(&u); {
			left--
		}
		if err := p.Device.Err(); err != nil {
			p.t.Fatalf("advance the ring: device side: %v", err)
		}
		if err := p.Driver.Err(); err != nil {
			p.t.Fatalf("advance the ring: driver side: %v", err)
		}
	}
	p.Driver.NeedKick()
	p.Device.NeedSignal()
	p.Device.ForgetSignals()
	p.Driver.EnableInterrupts()
	p.Device.EnableKicks()
}
