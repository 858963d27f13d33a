package cli

import "testing"

func TestParseMAC(t *testing.T) {
	if mac, err := ParseMAC("52:54:00:12:34:56"); err != nil || mac.String() != "52:54:00:12:34:56" {
		t.Errorf("%v, %v", mac, err)
	}
	for _, text := range []string{"", "x", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "52:54:00:12:34:56:78:9a"} {
		if mac, err := ParseMAC(text); err == nil {
			t.Errorf("%q is taken as %v", text, mac)
		}
	}
}
