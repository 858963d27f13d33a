package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

// The real-mode header of a bzImage: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
const (
	setupSectsAt     = 0x1f1
	magicAt          = 0x202
	magic            = "HdrS"
	protocolAt       = 0x206
	versionStringAt  = 0x20e // less 0x200
	payloadOffsetAt  = 0x248
	payloadLengthAt  = 0x24c
	headerEnd        = 0x250
	payloadSince     = 0x0208 // version of the protocol
	sectorSize       = 512
	setupSectsOfZero = 4
	longestVersion   = 512
)

// Image is the file of a kernel. It does not change.
type Image struct {
	// Path is the file.
	Path string
	// Release is what "uname -r" says in that kernel.
	Release string

	payload []byte // the kernel proper, compressed; nil: the header does not say
}

// Open reads a bzImage, as distributions have it as /boot/vmlinuz-RELEASE. The error names the file.
func Open(path string) (*Image, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	i, err := parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: give a bzImage such as /boot/vmlinuz-RELEASE", path, err)
	}
	i.Path = path
	return i, nil
}

func parse(file []byte) (*Image, error) {
	if len(file) < headerEnd || string(file[magicAt:magicAt+len(magic)]) != magic {
		return nil, fmt.Errorf("not the image of a Linux kernel for x86")
	}
	start := int(binary.LittleEndian.Uint16(file[versionStringAt:])) + 0x200
	if start == 0x200 || start >= len(file) {
		return nil, fmt.Errorf("the image does not say which release it is")
	}
	text, _, ended := bytes.Cut(file[start:min(len(file), start+longestVersion)], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if !ended || release == "" || strings.ContainsAny(release, "/\n") {
		return nil, fmt.Errorf("the image does not say which release it is")
	}
	return &Image{Release: release, payload: payload(file)}, nil
}

// payload is the part of the file that the header calls so, nil if it does not, or if the file ends before.
func payload(file []byte) []byte {
	if binary.LittleEndian.Uint16(file[protocolAt:]) < payloadSince {
		return nil
	}
	sectors := int64(file[setupSectsAt])
	if sectors == 0 {
		sectors = setupSectsOfZero
	}
	start := (sectors+1)*sectorSize + int64(binary.LittleEndian.Uint32(file[payloadOffsetAt:]))
	end := start + int64(binary.LittleEndian.Uint32(file[payloadLengthAt:]))
	if start >= end || end > int64(len(file)) {
		return nil
	}
	return file[start:end]
}
