// Package kmod works out which kernel module files a small virtual machine needs.
//
// It reads an unpacked module directory (lib/modules/RELEASE), follows the dependencies of the modules that are
// asked for, and writes a modules.dep that describes exactly the files chosen.
//
// A distribution's kernel package carries no modules.dep: depmod makes it when the package is installed. A package
// that was merely unpacked therefore has none, and the dependencies are read from the modules themselves (the ELF
// section .modinfo). A modules.dep that exists is believed.
package kmod
