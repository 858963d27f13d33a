// Package kerneltest makes images for tests of what reads those of kernels.
package kerneltest

import "encoding/binary"

// Image is a bzImage of protocol 2.15 that says that it is of a release. It does not boot.
func Image(release string, payload []byte) []byte {
	const sectors = 3
	b := make([]byte, (sectors+1)*512)
	b[0x1f1] = sectors
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x020f)
	binary.LittleEndian.PutUint16(b[0x20e:], 0x300-0x200)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)))
	copy(b[0x300:], release+" (someone@somewhere) #1 SMP\x00")
	return append(b, payload...)
}
