package virtiopci

import (
	"bytes"
	"testing"

	"vvufwd/vfio/mmio/mmiotest"
)

func TestReadConfig(t *testing.T) {
	d := newFakeDevice()
	for i, b := range []byte{0x52, 0x54, 0, 1, 2, 3, 1, 0} {
		d.bar.Poke(fakeConfig+uint64(i), 1, uint64(b))
	}
	tr := mustOpen(t, d, 0)
	mac := make([]byte, 6)
	if err := tr.ReadConfig(0, mac); err != nil || !bytes.Equal(mac, []byte{0x52, 0x54, 0, 1, 2, 3}) {
		t.Errorf("%x, %v", mac, err)
	}
	for _, a := range d.bar.Log() {
		if a.Width != 1 {
			t.Errorf("bytes are read by %v", a)
		}
	}
	if v, err := tr.ReadConfig16(6); err != nil || v != 1 {
		t.Errorf("%d, %v", v, err)
	}
	if v, err := tr.ReadConfig32(4); err != nil || v != 0x00010302 {
		t.Errorf("0x%x, %v", v, err)
	}
	if tr.DeviceConfig().Load8(0) != 0x52 {
		t.Error("the registers do not start at the configuration")
	}
}

// TestReadConfigOfOneMoment: the device changes its MAC address after the third byte
// has been read; what is returned is the new one, whole.
func TestReadConfigOfOneMoment(t *testing.T) {
	d := newFakeDevice()
	changed := false
	d.bar.OnLoad = func(f *mmiotest.Fake, a mmiotest.Access) uint64 {
		if a.Offset == fakeConfig+2 && !changed {
			changed = true
			for i := range uint64(6) {
				f.Poke(fakeConfig+i, 1, 0xee)
			}
			f.Poke(commonGeneration, 1, f.Peek(commonGeneration, 1)+1)
		}
		return a.Value
	}
	mac := make([]byte, 6)
	if err := mustOpen(t, d, 0).ReadConfig(0, mac); err != nil || !bytes.Equal(mac, bytes.Repeat([]byte{0xee}, 6)) {
		t.Errorf("%x, %v", mac, err)
	}
}

func TestReadConfigThatNeverSettles(t *testing.T) {
	d := newFakeDevice()
	d.bar.OnLoad = func(f *mmiotest.Fake, a mmiotest.Access) uint64 {
		if a.Offset == commonGeneration {
			f.Poke(commonGeneration, 1, a.Value+1)
		}
		return a.Value
	}
	if err := mustOpen(t, d, 0).ReadConfig(0, make([]byte, 6)); err == nil {
		t.Error("no error")
	}
}

func TestReadConfigOutside(t *testing.T) {
	d := newFakeDevice()
	tr := mustOpen(t, d, 0)
	if err := tr.ReadConfig(0xfff, make([]byte, 2)); err == nil {
		t.Error("beyond the end")
	}
	if _, err := tr.ReadConfig32(^uint64(0)); err == nil {
		t.Error("around the end")
	}
	caps := standardCaps()
	d.config = configSpace(0x1041, 0, caps[0], caps[3])
	tr = mustOpen(t, d, 0)
	if tr.DeviceConfig() != nil {
		t.Error("configuration of a device that has none")
	}
	if _, err := tr.ReadConfig16(0); err == nil {
		t.Error("configuration of a device that has none can be read")
	}
}
