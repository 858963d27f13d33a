package vringtest

import "unsafe"

// Address is where b, which is not empty, lies in this process.
func Address(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
