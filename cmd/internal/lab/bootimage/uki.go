package bootimage

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
)

// Boot is what boots.
type Boot struct {
	Kernel      []byte
	Initrd      []byte
	CommandLine string
	Release     string // of the kernel
}

// Offsets in a PE file, from its signature on and from its optional header on (Microsoft's "PE Format").
const (
	signatureAt  = 0x3c // in the file
	fileHeader   = 4
	optional     = fileHeader + 20
	sectionBytes = 40
	codeOrData   = 8 // size of initialized data
	imageSizeAt  = 56
	checkSumAt   = 64

	page                      = 4096
	initializedData, readable = 0x40, 0x40000000
)

// UKI adds a boot to systemd's stub for it (linuxx64.efi.stub): each part becomes a section by the name that the stub looks for.
func UKI(stub []byte, boot Boot) ([]byte, error) {
	if !bytes.HasPrefix(stub, []byte("MZ")) { // debug/pe takes object files as well
		return nil, errors.New("the stub is no program for UEFI")
	}
	parsed, err := pe.NewFile(bytes.NewReader(stub))
	if err != nil {
		return nil, fmt.Errorf("the stub is no program for UEFI: %w", err)
	}
	header, is64 := parsed.OptionalHeader.(*pe.OptionalHeader64)
	if !is64 || parsed.Section(".sdmagic") == nil {
		return nil, errors.New("the stub is not systemd's (it has no section .sdmagic)")
	}
	if parsed.Section(".linux") != nil {
		return nil, errors.New("the stub has a kernel already")
	}
	image := bytes.Clone(stub)
	at := int(binary.LittleEndian.Uint32(image[signatureAt:])) // debug/pe has checked it
	table := at + optional + int(parsed.FileHeader.SizeOfOptionalHeader)
	count := len(parsed.Sections)
	// The kernel is last: stubs before systemd 254 unpack it where it lies.
	added := []struct {
		name string
		body []byte
	}{{".uname", []byte(boot.Release)}, {".cmdline", []byte(boot.CommandLine)}, {".initrd", boot.Initrd}, {".linux", boot.Kernel}}
	if table+(count+len(added))*sectionBytes > int(header.SizeOfHeaders) {
		return nil, errors.New("the stub's headers have no room for more sections")
	}
	var end uint32
	for _, s := range parsed.Sections {
		end = max(end, s.VirtualAddress+s.VirtualSize)
	}
	data := uint32(0)
	for i, s := range added {
		image = append(image, make([]byte, up(uint32(len(image)), header.FileAlignment)-uint32(len(image)))...)
		size := uint32(len(s.body))
		address, from := up(end, max(header.SectionAlignment, page)), uint32(len(image))
		entry := image[table+(count+i)*sectionBytes:][:sectionBytes]
		clear(entry)
		copy(entry, s.name)
		for field, value := range []uint32{size, address, up(size, header.FileAlignment), from} {
			binary.LittleEndian.PutUint32(entry[8+4*field:], value)
		}
		binary.LittleEndian.PutUint32(entry[36:], initializedData|readable)
		image = append(image, s.body...)
		end = address + size
		data += up(size, header.FileAlignment)
	}
	image = append(image, make([]byte, up(uint32(len(image)), header.FileAlignment)-uint32(len(image)))...)
	binary.LittleEndian.PutUint16(image[at+fileHeader+2:], uint16(count+len(added)))
	fields := image[at+optional:]
	binary.LittleEndian.PutUint32(fields[codeOrData:], header.SizeOfInitializedData+data)
	binary.LittleEndian.PutUint32(fields[imageSizeAt:], up(end, header.SectionAlignment))
	binary.LittleEndian.PutUint32(fields[checkSumAt:], 0) // for drivers only
	return image, nil
}

// up is the next multiple of an alignment.
func up(n, alignment uint32) uint32 { return (n + alignment - 1) / alignment * alignment }
