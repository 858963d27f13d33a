package vring_test

import "encoding/binary"

// put32 and get32 write and read the numbers by which tests tell buffers apart.
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func get32(b []byte) uint32    { return binary.LittleEndian.Uint32(b) }
