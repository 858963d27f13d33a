package modules

import "testing"

func TestName(t *testing.T) {
	for s, want := range map[string]string{
		"vfio-pci": "vfio_pci", "vfio_pci": "vfio_pci", "kernel/drivers/vfio/pci/vfio-pci.ko": "vfio_pci",
		"a/b.ko.xz": "b", "b.ko.zst": "b", "b.ko.gz": "b",
	} {
		if got := Name(s); got != want {
			t.Errorf("Name(%q) = %q, want %q", s, got, want)
		}
	}
}
