// Package bootimagetest makes what tests of boot images start from.
package bootimagetest

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
)

// Stub is a program for UEFI with the section by which systemd's stub is known, and room for more sections. It does not run.
func Stub() []byte {
	const at, headers, aligned = 0x40, 0x400, 0x200
	var b bytes.Buffer
	b.WriteString("MZ")
	b.Write(make([]byte, 0x3c-b.Len()))
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) } // a buffer takes everything
	put(uint32(at))
	b.WriteString("PE\x00\x00")
	optional := pe.OptionalHeader64{
		Magic: 0x20b, SectionAlignment: aligned, FileAlignment: aligned, SizeOfHeaders: headers, SizeOfImage: 0x1400, CheckSum: 0x1234, NumberOfRvaAndSizes: 16,
	}
	put(pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)), Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE})
	put(optional)
	section := pe.SectionHeader32{VirtualSize: 0x34, VirtualAddress: 0x1200, SizeOfRawData: aligned, PointerToRawData: headers, Characteristics: pe.IMAGE_SCN_MEM_READ}
	copy(section.Name[:], ".sdmagic")
	put(section)
	b.Write(make([]byte, headers-b.Len()))
	b.WriteString("#### LoaderInfo: systemd-stub test ####")
	b.Write(make([]byte, headers+aligned-b.Len()))
	return b.Bytes()
}
