package initramfs

import "vvufwd/cmd/internal/lab/kmod"

// Script describes the image of a machine whose /init is a script of a test's own.
type Script struct {
	// Init is the script. It begins with "#!/bin/busybox sh".
	Init []byte
	// Busybox is the path of a static busybox.
	Busybox string
	// Modules is the kernel's module directory, Names those that the image has.
	Modules *kmod.Tree
	Names   []string
	// Files are programs and libraries: host files by their paths in the image. All of them are executable.
	Files map[string]string
	// Texts are more files by their paths in the image.
	Texts map[string]string
}

// Save writes the image to the file at path and returns its size in bytes.
func (p Script) Save(path string) (int64, error) {
	a := newArchive()
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "srv"} {
		a.dir(dir)
	}
	a.file("init", 0o755, p.Init)
	if err := a.copy("bin/busybox", 0o755, p.Busybox); err != nil {
		return 0, err
	}
	for name, from := range p.Files {
		if err := a.copy(name, 0o755, from); err != nil {
			return 0, err
		}
	}
	for name, text := range p.Texts {
		a.file(name, 0o644, []byte(text))
	}
	if err := a.addModules(p.Modules, p.Names...); err != nil {
		return 0, err
	}
	return a.save(path)
}
