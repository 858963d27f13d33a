package tools

import (
	"context"
	"debug/elf"
	"fmt"
	"path/filepath"

	"vvufwd/cmd/internal/lab/apt"
)

// wifiPackages are an access point, what joins one, and what asks and tells the kernel, with the libraries
// of all, but for what only the service manager's own ones need.
var wifiPackages = []string{
	"hostapd", "wpasupplicant", "iw", "libc6", "libnl-3-200", "libnl-genl-3-200", "libnl-route-3-200", "libssl3", "libpcsclite1", "libdbus-1-3",
	"libsystemd0", "libcap2", "libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libzstd1",
}

// wifiPrograms are those programs, by their paths in a virtual machine.
var wifiPrograms = map[string][]string{
	"bin/hostapd": {"usr/sbin/hostapd"}, "bin/wpa_supplicant": {"sbin/wpa_supplicant", "usr/sbin/wpa_supplicant"}, "bin/iw": {"sbin/iw", "usr/sbin/iw"},
}

// WiFi unpacks hostapd, wpa_supplicant and iw, and returns them with all that they need to run: host files by their paths in a
// virtual machine. Of the options only BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func WiFi(ctx context.Context, o Options) (map[string]string, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	root, err := d.packages(ctx, "wifi", guestRelease.suite, func(*apt.Private) ([]string, error) { return wifiPackages, nil })
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, places := range wifiPrograms {
		if files[name], err = among(root, places); err != nil {
			return nil, err
		}
		if err := addLibraries(files, root, files[name]); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// among is the first of some places in unpacked packages that is there.
func among(root string, places []string) (string, error) {
	for _, place := range places {
		if path := filepath.Join(root, place); readable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("the packages unpacked in %s lack %s: remove that directory and try again", root, places[0])
}

// addLibraries adds the libraries that a program or a library needs, and the loader, from unpacked packages.
func addLibraries(files map[string]string, root, program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	for _, name := range append(names, loader) {
		const dir = "lib/x86_64-linux-gnu/"
		at := dir + name
		if name == loader {
			at = "lib64/" + name
		}
		if files[at] != "" {
			continue
		}
		if files[at], err = among(root, []string{dir + name, "usr/" + dir + name}); err != nil {
			return err
		}
		if err := addLibraries(files, root, files[at]); err != nil {
			return err
		}
	}
	return nil
}
