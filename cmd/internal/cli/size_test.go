package cli

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]uint64{"1": 1, "4096": 4096, "512K": 512 << 10, "256M": 256 << 20, "4g": 4 << 30, "1T": 1 << 40} {
		var s Size
		if err := s.Set(text); err != nil || uint64(s) != want {
			t.Errorf("%s is %d (%v), want %d", text, s, err, want)
		}
		var again Size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%d is written %s, which is %d (%v)", s, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "0", "0M", "-1", "1.5G", "4KM", "M", "4 G", "16777216T", "8388608T"} {
		var s Size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 256 << 20: "256 MiB", 94<<30 + 200<<20: "94.2 GiB", 128 << 40: "128 TiB", 1 << 63: "8 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
