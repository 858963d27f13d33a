package pci

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"0000:00:05.0":  {0, 0, 5, 0},
		"00:05.0":       {0, 0, 5, 0},
		"0001:ff:1f.7":  {1, 0xff, 0x1f, 7},
		"10000:e1:00.0": {0x10000, 0xe1, 0, 0},
		"0000:AF:0a.1":  {0, 0xaf, 0xa, 1},
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		again, err := ParseAddress(got.String())
		if err != nil || again != got {
			t.Errorf("%s becomes %s and then %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"", "5", "00:05", "0000:00:05", "00:20.0", "00:05.8", "100:05.0", "0000:00:05.0.0", "0000:0000:00:05.0",
		"0000:00:05.", ".0", "::.", "-1:00:05.0", "+0:00:05.0", "0x0:00:05.0", "00:05.0 ", "eth0", "100000000:00:05.0",
	} {
		if _, err := ParseAddress(text); err == nil || !strings.Contains(err.Error(), "0000:00:05.0") {
			t.Errorf("%q: error %v does not show the wanted form", text, err)
		}
	}
}
