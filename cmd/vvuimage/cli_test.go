package main

import (
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/rogpeppe/go-internal/testscript"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/internal/lab/bootimage/bootimagetest"
	"vvufwd/cmd/internal/lab/kernel/kerneltest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvuimage":  main,
		"mkkernel":  func() { must(os.WriteFile(os.Args[2], kerneltest.Image(os.Args[1], nil), 0o600)) },
		"mkprogram": func() { must(os.WriteFile(os.Args[1], program(), 0o755)) },
		"mkstub":    func() { must(os.WriteFile(os.Args[1], bootimagetest.Stub(), 0o600)) },
		"mkmodule":  func() { must(os.WriteFile(os.Args[1], moduleFile(os.Args[2]), 0o600)) },
		"list":      func() { must(list(os.Args[1])) },
	})
}

// TestCLI plays command lines and checks what they print and their exit codes.
func TestCLI(t *testing.T) { clitest.Play(t, "testdata", "", nil, nil) }

// TestArguments plays those that are about arguments, which vvufwd itself checks.
func TestArguments(t *testing.T) {
	clitest.Play(t, "testdata/arguments", clitest.Static(t, "vvufwd"), nil, nil)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// program is as much of a static program as can be told from its header.
func program() []byte {
	h := make([]byte, 64)
	copy(h, elf.ELFMAG)
	h[elf.EI_CLASS], h[elf.EI_DATA], h[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	binary.LittleEndian.PutUint16(h[16:], uint16(elf.ET_EXEC))
	binary.LittleEndian.PutUint16(h[18:], uint16(elf.EM_X86_64))
	binary.LittleEndian.PutUint32(h[20:], uint32(elf.EV_CURRENT))
	binary.LittleEndian.PutUint16(h[52:], 64)
	binary.LittleEndian.PutUint16(h[54:], 56)
	binary.LittleEndian.PutUint16(h[58:], 64)
	return h
}

// moduleFile is an object file with a .modinfo section that names a firmware file.
func moduleFile(firmware string) []byte {
	info, names := "license=GPL\x00firmware="+firmware+"\x00", "\x00.modinfo\x00.shstrtab\x00"
	b := program()
	infoAt := len(b)
	namesAt := infoAt + len(info)
	b = append(b, info+names...)
	binary.LittleEndian.PutUint64(b[40:], uint64(len(b)))
	binary.LittleEndian.PutUint16(b[60:], 3)
	binary.LittleEndian.PutUint16(b[62:], 2)
	section := func(name, kind uint32, at, size int) {
		s := make([]byte, 64)
		binary.LittleEndian.PutUint32(s, name)
		binary.LittleEndian.PutUint32(s[4:], kind)
		binary.LittleEndian.PutUint64(s[24:], uint64(at))
		binary.LittleEndian.PutUint64(s[32:], uint64(size))
		b = append(b, s...)
	}
	section(0, uint32(elf.SHT_NULL), 0, 0)
	section(1, uint32(elf.SHT_PROGBITS), infoAt, len(info))
	section(10, uint32(elf.SHT_STRTAB), namesAt, len(names))
	return b
}

// list prints what is in an image.
func list(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for in := cpio.NewReader(unzipped); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		fmt.Println(header.Name, header.Mode, header.Size)
	}
}
