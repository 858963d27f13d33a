package tools

import "context"

// ethtoolFiles are ethtool, its loader and its libraries: where they stand in a virtual machine, and where, in the unpacked
// packages, they may be.
var ethtoolFiles = map[string][]string{
	"bin/ethtool":                          {"sbin/ethtool", "usr/sbin/ethtool"},
	"lib64/ld-linux-x86-64.so.2":           {"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
	"lib/x86_64-linux-gnu/libc.so.6":       {"lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"},
	"lib/x86_64-linux-gnu/libm.so.6":       {"lib/x86_64-linux-gnu/libm.so.6", "usr/lib/x86_64-linux-gnu/libm.so.6"},
	"usr/lib/x86_64-linux-gnu/libmnl.so.0": {"usr/lib/x86_64-linux-gnu/libmnl.so.0", "lib/x86_64-linux-gnu/libmnl.so.0"},
}

// ethtool unpacks ethtool if it is needed. It is always Debian's: one of this machine may need libraries of any kind.
func (f *finder) ethtool(ctx context.Context, t *Tools) error {
	if !f.NeedMatrix {
		return nil
	}
	root, err := f.debian.ethtool(ctx)
	if err != nil {
		return err
	}
	t.Ethtool = make(map[string]string, len(ethtoolFiles))
	for name, places := range ethtoolFiles {
		if t.Ethtool[name], err = among(root, places); err != nil {
			return err
		}
	}
	return nil
}
