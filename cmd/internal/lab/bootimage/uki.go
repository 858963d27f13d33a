package bootimage

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
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
	if err := checkAlignment(header); err != nil {
		return nil, err
	}
	at := int(binary.LittleEndian.Uint32(image[signatureAt:])) // debug/pe has checked it
	table := at + optional + int(parsed.FileHeader.SizeOfOptionalHeader)
	count := len(parsed.Sections)
	// The kernel is last: stubs before systemd 254 unpack it where it lies.
	added := []struct {
		name string
		body []byte
	}{{".uname", []byte(boot.Release)}, {".cmdline", []byte(boot.CommandLine)}, {".initrd", boot.Initrd}, {".linux", boot.Kernel}}
	if table+(count+len(added))*sectionBytes > min(int(header.SizeOfHeaders), len(stub)) {
		return nil, errors.New("the stub's headers have no room for more sections")
	}
	var end uint64
	for _, s := range parsed.Sections {
		end = max(end, uint64(s.VirtualAddress)+uint64(s.VirtualSize))
	}
	inFile, inMemory := uint64(header.FileAlignment), uint64(header.SectionAlignment)
	data := uint64(header.SizeOfInitializedData)
	for i, s := range added {
		size := uint64(len(s.body))
		address, from := up(end, max(inMemory, page)), up(uint64(len(image)), inFile)
		if end = address + size; up(end, inMemory) > math.MaxUint32 || from+up(size, inFile) > math.MaxUint32 {
			return nil, errors.New("with the stub it is larger than the 4 GiB that a program for UEFI can have")
		}
		image = append(image, make([]byte, from-uint64(len(image)))...)
		entry := image[table+(count+i)*sectionBytes:][:sectionBytes]
		clear(entry)
		copy(entry, s.name)
		for field, value := range []uint64{size, address, up(size, inFile), from} {
			binary.LittleEndian.PutUint32(entry[8+4*field:], uint32(value))
		}
		binary.LittleEndian.PutUint32(entry[36:], initializedData|readable)
		image = append(image, s.body...)
		data += up(size, inFile)
	}
	image = append(image, make([]byte, up(uint64(len(image)), inFile)-uint64(len(image)))...)
	binary.LittleEndian.PutUint16(image[at+fileHeader+2:], uint16(count+len(added)))
	fields := image[at+optional:]
	binary.LittleEndian.PutUint32(fields[codeOrData:], uint32(data))
	binary.LittleEndian.PutUint32(fields[imageSizeAt:], uint32(up(end, inMemory)))
	binary.LittleEndian.PutUint32(fields[checkSumAt:], 0) // for drivers only
	return image, nil
}

// Alignments that a stub can have at most: the format's in the file, and more than any has in memory.
const (
	mostInFile   = 1 << 16
	mostInMemory = 1 << 24
)

// checkAlignment fails if sections cannot be aligned as the stub says.
func checkAlignment(h *pe.OptionalHeader64) error {
	if bits.OnesCount32(h.FileAlignment) != 1 || bits.OnesCount32(h.SectionAlignment) != 1 || h.FileAlignment > mostInFile || h.SectionAlignment > mostInMemory {
		return fmt.Errorf("the stub is no program for UEFI: it aligns sections to %#x in the file and %#x in memory", h.FileAlignment, h.SectionAlignment)
	}
	return nil
}

// up is the next multiple of an alignment.
func up(n, alignment uint64) uint64 { return (n + alignment - 1) / alignment * alignment }
