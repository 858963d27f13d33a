package uapi

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answer builds the answer to an info request: a structure of 32 bytes, then
// capabilities, chained in order.
func answer(caps ...[]byte) []byte {
	out := make([]byte, 32)
	for i, c := range caps {
		c = append([]byte(nil), c...)
		if i < len(caps)-1 {
			binary.LittleEndian.PutUint32(c[4:], uint32(len(out)+len(c)))
		}
		out = append(out, c...)
	}
	return out
}

func capability(id uint16, entries ...[2]uint64) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e[0])
		b = binary.LittleEndian.AppendUint64(b, e[1])
	}
	return b
}

func TestFindCapability(t *testing.T) {
	info := answer(capability(3), capability(RegionCapSparseMmap, [2]uint64{0, 0x1000}, [2]uint64{0x3000, 0x1000}))
	found, err := FindCapability(info, 32, RegionCapSparseMmap)
	if err != nil {
		t.Fatal(err)
	}
	areas, err := SparseAreas(found)
	if err != nil {
		t.Fatal(err)
	}
	want := []SparseArea{{Offset: 0, Size: 0x1000}, {Offset: 0x3000, Size: 0x1000}}
	if diff := cmp.Diff(want, areas); diff != "" {
		t.Error(diff)
	}
	if found, err := FindCapability(info, 32, 77); found != nil || err != nil {
		t.Errorf("a capability that is not there: %v, %v", found, err)
	}
	if found, err := FindCapability(info, 0, 3); found != nil || err != nil {
		t.Errorf("an empty chain: %v, %v", found, err)
	}
}

func TestIOVARanges(t *testing.T) {
	ranges, err := IOVARanges(capability(IOMMUCapIOVARange, [2]uint64{0, 0xfedfffff}, [2]uint64{0xfef00000, 1<<48 - 1}))
	if err != nil {
		t.Fatal(err)
	}
	want := []IOVARange{{Start: 0, End: 0xfedfffff}, {Start: 0xfef00000, End: 1<<48 - 1}}
	if diff := cmp.Diff(want, ranges); diff != "" {
		t.Error(diff)
	}
}

func TestBrokenCapabilities(t *testing.T) {
	circle := answer(capability(3))
	binary.LittleEndian.PutUint32(circle[36:], 32)
	if _, err := FindCapability(circle, 32, 1); err == nil {
		t.Error("a circle is not noticed")
	}
	if _, err := FindCapability(answer(), 30, 1); err == nil {
		t.Error("a capability behind the end is not noticed")
	}
	if _, err := FindCapability(answer(), 0xffff_fffc, 1); err == nil {
		t.Error("an offset near 4 GiB is not noticed")
	}
	long := capability(RegionCapSparseMmap, [2]uint64{})
	binary.LittleEndian.PutUint32(long[8:], 0xffff_ffff)
	if _, err := SparseAreas(long); err == nil {
		t.Error("too many entries are not noticed")
	}
	if _, err := IOVARanges(make([]byte, 15)); err == nil {
		t.Error("a short capability is not noticed")
	}
}

// FuzzFindCapability: whatever the bytes, the walk ends and stays within them.
func FuzzFindCapability(f *testing.F) {
	f.Add(answer(capability(3), capability(1, [2]uint64{1, 2})), uint32(32), uint16(1))
	f.Add([]byte{}, uint32(0), uint16(1))
	f.Fuzz(func(t *testing.T, info []byte, first uint32, id uint16) {
		found, err := FindCapability(info, first, id)
		if err != nil {
			return
		}
		if found != nil && binary.LittleEndian.Uint16(found) != id {
			t.Fatalf("found capability %d instead of %d", binary.LittleEndian.Uint16(found), id)
		}
		if areas, err := SparseAreas(found); err == nil && len(areas)*16 > len(info) {
			t.Fatalf("%d areas from %d bytes", len(areas), len(info))
		}
	})
}
