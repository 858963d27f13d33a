package netfwd

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// coreRing is the driver side of a ring as a generator on the same core plays it: 256
// buffers of its own, written anew each time, always full towards us.
type coreRing struct {
	mem         []byte
	packed, rx  bool
	size        int
	desc, avail int // offsets
	used, bufs  int
	ai, ui      uint16
	wrap, uwrap bool
	seq         uint64
	bad         int
}

const (
	coreSize   = 256
	coreGPA    = 1 << 32
	coreStride = 2432
	coreRxLen  = 2060
	coreRegion = 4 << 20
)

func (r *coreRing) buf(s int) int { return r.bufs + s*coreStride + 116 }

func newCoreRing(m []byte, packed, rx bool, size int) *coreRing {
	r := &coreRing{mem: m, packed: packed, rx: rx, size: size, wrap: true, uwrap: true}
	if !rx {
		r.desc = 0x8000
	}
	r.avail = r.desc + coreSize*16
	r.used = (r.avail + 6 + 2*coreSize + 4095) &^ 4095
	r.bufs = 0x10000
	if rx {
		r.bufs += 1 << 20
	}
	if packed {
		binary.LittleEndian.PutUint16(m[r.avail+2:], 1)
	} else {
		binary.LittleEndian.PutUint16(m[r.avail:], 1)
		for i := range coreSize {
			binary.LittleEndian.PutUint16(m[r.avail+4+2*i:], uint16(i))
		}
	}
	return r
}

func (r *coreRing) p64(off int) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[off])) }
func (r *coreRing) p32(off int) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[off])) }
func (r *coreRing) p16(off int) *uint16 { return (*uint16)(unsafe.Pointer(&r.mem[off])) }

func (r *coreRing) offer(n int) {
	length, flags := uint64(12+r.size), uint64(0)
	if r.rx {
		length, flags = coreRxLen, 2
	}
	first, firstRest := 0, uint64(0)
	for i := range n {
		s := int(r.ai) % coreSize
		if !r.rx {
			r.seq++
			b := r.buf(s)
			*r.p64(b), *r.p32(b + 8) = 0, 0
			*r.p64(b + 12), *r.p32(b + 20) = uint64(station(1)|station(0)<<48), uint32(station(0)>>16)
			*r.p64(b + 12 + 14) = r.seq
		}
		d := r.desc + s*16
		*r.p64(d) = coreGPA + uint64(r.buf(s))
		if !r.packed {
			*r.p64(d + 8) = length | flags<<32
			r.ai++
			continue
		}
		f := flags | 0x8000
		if r.wrap {
			f = flags | 0x80
		}
		rest := length | uint64(s)<<32 | f<<48
		if i == 0 {
			first, firstRest = d, rest
		} else {
			*r.p64(d + 8) = rest
		}
		if r.ai++; r.ai == coreSize {
			r.ai, r.wrap = 0, !r.wrap
		}
	}
	if r.packed {
		*r.p64(first + 8) = firstRest
	} else {
		*r.p16(r.avail + 2) = r.ai
	}
}

func (r *coreRing) check(s int, n uint32) {
	if r.rx {
		r.seq++
		if n != uint32(12+r.size) || *r.p64(r.buf(s) + 12 + 14) != r.seq {
			r.bad++
		}
	}
}

func (r *coreRing) take(n int) {
	if r.packed {
		for i := 0; i < n; {
			d := r.desc + int(r.ui)*16
			rest := *r.p64(d + 8)
			f := rest >> 48
			if f&0x80 != 0 != r.uwrap || f&0x8000 != 0 != r.uwrap {
				r.bad++
				return
			}
			r.check(int(r.ui), uint32(rest))
			step := 1
			if !r.rx {
				step = int(uint16(rest>>32)-r.ui)&(coreSize-1) + 1
			}
			i += step
			if r.ui += uint16(step); r.ui >= coreSize {
				r.ui, r.uwrap = r.ui-coreSize, !r.uwrap
			}
		}
		return
	}
	idx := *r.p16(r.used + 2)
	if idx-r.ui != uint16(n) {
		r.bad++
	}
	for ; r.ui != idx; r.ui++ {
		e := r.used + 4 + 8*int(r.ui%coreSize)
		r.check(int(*r.p32(e)), *r.p32(e + 4))
	}
}

func coreMemory(t testing.TB) []byte {
	fd, err := unix.MemfdCreate("core", unix.MFD_HUGETLB)
	if err == nil {
		err = unix.Ftruncate(fd, coreRegion)
	}
	var m []byte
	if err == nil {
		m, err = unix.Mmap(fd, 0, coreRegion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		m, err = unix.Mmap(-1, 0, coreRegion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	}
	if err != nil {
		t.Fatal(err)
	}
	clear(m)
	return m
}

func TestCoreBench(t *testing.T) {
	if os.Getenv("CORE") == "" {
		t.Skip()
	}
	runtime.LockOSThread()
	var hz float64
	{
		var c busyClock
		c.start()
		a := cycles()
		unix.Nanosleep(&unix.Timespec{Nsec: 200_000_000}, nil)
		c.tick(false)
		c.busy = 1 << 30
		hz = float64(1<<30) / c.busyTime().Seconds()
		_ = a
	}
	for _, switched := range []bool{false, true} {
		for _, packed := range []bool{false, true} {
			for _, size := range []int{64, 1518} {
				var rings [2][2]*coreRing
				var guests [2]*virtionet.Guest
				var join []Port
				var qs [2]*virtionet.Queues
				for p := range 2 {
					m := coreMemory(t)
					table, err := mem.New([]mem.Region{{GPA: coreGPA, Mem: m}})
					if err != nil {
						t.Fatal(err)
					}
					g := virtionet.NewGuest(fmt.Sprint(p), func(ring string, err error) { t.Error(ring, err) })
					q := &virtionet.Queues{ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: 12, Mergeable: true}
					for k := range 2 {
						r := newCoreRing(m, packed, k == 0, size)
						rings[p][k] = r
						cfg := vring.DeviceConfig{Size: coreSize, Mem: table, Packed: packed, Desc: coreGPA + mem.GPA(r.desc), Avail: coreGPA + mem.GPA(r.avail), Used: coreGPA + mem.GPA(r.used)}
						if packed {
							cfg.NextAvail = vring.FirstSlot
						}
						d, err := vring.NewDevice(cfg)
						if err != nil {
							t.Fatal(err)
						}
						if k == 0 {
							q.ToGuest = d
						} else {
							q.FromGuest = d
						}
					}
					guests[p], qs[p] = g, q
					join = append(join, g)
				}
				var pair group = newPair(join[0], join[1])
				if switched {
					pair = switchOf(join)
				}
				if os.Getenv("CORE") == "long" {
					if l, ok := pair.(*lane); ok {
						for _, d := range l.dirs {
							d.short = nil
						}
					} else {
						for i := range pair.(*bridge).ports {
							clear(pair.(*bridge).ports[i].short)
						}
					}
				}
				done := make(chan struct{})
				go func() { guests[0].Install(qs[0]); guests[1].Install(qs[1]); close(done) }()
				for fin := false; !fin; {
					select {
					case <-done:
						fin = true
					default:
						pair.step()
						pair.housekeep(time.Now())
					}
				}
				tx, rx := rings[0][1], rings[1][0]
				rx.offer(coreSize)
				const reps, bursts = 400, 100
				var x []float64
				for k := -20; k < reps; k++ {
					var s uint64
					for range bursts {
						tx.offer(32)
						t0 := cycles()
						pair.step()
						s += cycles() - t0
						tx.take(32)
						rx.take(32)
						rx.offer(32)
					}
					if k >= 0 {
						x = append(x, float64(s)/hz*1e9/(32*bursts))
					}
				}
				slices.Sort(x)
				fmt.Printf("core switch=%v packed=%v %4d B: min %.2f p10 %.2f med %.2f bad %d %d plain %d\n", switched, packed, size, x[0], x[reps/10], x[reps/2], tx.bad, rx.bad, guests[0].Counters().Plain)
			}
		}
	}
}
