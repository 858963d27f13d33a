package bootimage

import (
	"bytes"
	"context"
	"debug/pe"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/bootimage/bootimagetest"
)

var boot = Boot{Kernel: bytes.Repeat([]byte("kernel"), 1000), Initrd: []byte("initrd"), CommandLine: "quiet -- --vvu 0000:00:05.0", Release: "6.9.0-test"}

// Each part is a section of its own, that overlaps no other in the file nor in memory.
func TestUKI(t *testing.T) {
	stub := bootimagetest.Stub()
	before := bytes.Clone(stub)
	image, err := UKI(stub, boot)
	if err != nil || !bytes.Equal(stub, before) {
		t.Fatalf("%v, stub changed: %v", err, !bytes.Equal(stub, before))
	}
	f, err := pe.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	var end, fileEnd uint32
	for i, want := range []struct {
		name string
		body []byte
	}{{".sdmagic", nil}, {".uname", []byte(boot.Release)}, {".cmdline", []byte(boot.CommandLine)}, {".initrd", boot.Initrd}, {".linux", boot.Kernel}} {
		s := f.Sections[i]
		body, err := s.Data()
		if err != nil || s.Name != want.name || want.body != nil && !bytes.Equal(body[:s.VirtualSize], want.body) {
			t.Errorf("section %d is %s with %d bytes (%v), want %s with %d", i, s.Name, s.VirtualSize, err, want.name, len(want.body))
		}
		if s.VirtualAddress < end || s.Offset < fileEnd || i > 0 && (s.VirtualAddress%page != 0 || s.Offset%0x200 != 0 || s.Size%0x200 != 0) {
			t.Errorf("section %s is at %#x, in the file at %#x", s.Name, s.VirtualAddress, s.Offset)
		}
		end, fileEnd = s.VirtualAddress+s.VirtualSize, s.Offset+s.Size
	}
	header := f.OptionalHeader.(*pe.OptionalHeader64)
	if len(f.Sections) != 5 || header.SizeOfImage < end || header.SizeOfImage%0x200 != 0 || header.CheckSum != 0 || header.SizeOfInitializedData < uint32(len(boot.Kernel)) || fileEnd != uint32(len(image)) {
		t.Errorf("%d sections, header %+v, end %#x, %d bytes", len(f.Sections), header, end, len(image))
	}
}

func TestNoStub(t *testing.T) {
	for text, stub := range map[string][]byte{
		"no program":    []byte("#!/bin/sh"),
		"not systemd's": bytes.Replace(bootimagetest.Stub(), []byte(".sdmagic"), []byte(".other\x00\x00"), 1),
	} {
		if _, err := UKI(stub, boot); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	image, err := UKI(bootimagetest.Stub(), boot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := UKI(image, boot); err == nil || !strings.Contains(err.Error(), "kernel already") {
		t.Errorf("twice: %v", err)
	}
	full := bootimagetest.Stub()
	full[0x40+optional+60+1] = 0x01 // SizeOfHeaders: 0x100
	if _, err := UKI(full, boot); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("without room: %v", err)
	}
}

// stubWith is a stub with other bytes in its optional header, from one on.
func stubWith(at int, other ...byte) []byte {
	stub := bootimagetest.Stub()
	copy(stub[0x40+optional+at:], other)
	return stub
}

// What a stub's headers promise is checked.
func TestBrokenStub(t *testing.T) {
	const inMemory, inFile, headers = 32, 36, 60
	short := stubWith(headers, 0xff, 0xff)[:0x40+optional+0xf0+sectionBytes]
	address := bootimagetest.Stub()
	copy(address[0x40+optional+0xf0+12:], "\xff\xff\xff\xff")
	for text, stubs := range map[string][][]byte{
		"aligns sections to 0x0 in the file":   {stubWith(inFile, 0, 0)},
		"0x0 in memory":                        {stubWith(inMemory, 0, 0)},
		"aligns sections to":                   {stubWith(inFile, 3), stubWith(inFile, 0, 0, 0, 0x80), stubWith(inMemory, 0, 0, 0, 0x80)},
		"headers have no room":                 {short},
		"larger than the 4 GiB that a program": {address},
	} {
		for _, stub := range stubs {
			if _, err := UKI(stub, boot); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// FuzzUKI adds to any stub: what is made of it has four sections more, with all that boots in them.
func FuzzUKI(f *testing.F) {
	f.Add(bootimagetest.Stub())
	f.Add(stubWith(36, 0, 0))
	f.Add(stubWith(60, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, stub []byte) {
		image, err := UKI(stub, boot)
		if err != nil {
			return
		}
		made, err := pe.NewFile(bytes.NewReader(image))
		if err != nil {
			t.Fatal(err)
		}
		linux := made.Section(".linux")
		if linux == nil || linux != made.Sections[len(made.Sections)-1] {
			t.Fatal("the kernel is not the last section")
		}
		if body, err := linux.Data(); err != nil || !bytes.HasPrefix(body, boot.Kernel) {
			t.Errorf("the kernel is another: %v", err)
		}
	})
}

// GRUB's program gets a directory with all that boots, and its words.
func TestISO(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	file := filepath.Join(dir, "x.iso")
	if err := ISO(context.Background(), boot, file); !errors.Is(err, ErrNoTools) {
		t.Errorf("without tools: %v", err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	script := "#!/bin/sh\n[ \"$SOURCE_DATE_EPOCH\" = 315532800 ] && cat $3/boot/grub/grub.cfg $3/boot/initrd $3/boot/vmlinuz >$2\n"
	for name, text := range map[string]string{mkrescue: script, "xorriso": "", "mformat": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := ISO(context.Background(), boot, file); err != nil {
		t.Fatal(err)
	}
	want := "set timeout=0\nlinux /boot/vmlinuz 'quiet' '--' '--vvu' '0000:00:05.0'\ninitrd /boot/initrd\nboot\ninitrd" + string(boot.Kernel)
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%v, %q", err, got)
	}
	if err := os.WriteFile(filepath.Join(dir, mkrescue), []byte("#!/bin/sh\necho first; echo last >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ISO(context.Background(), boot, file); err == nil || !strings.Contains(err.Error(), "last") || strings.Contains(err.Error(), "first") {
		t.Errorf("when it fails: %v", err)
	}
}

// What is missing for one of both ways to boot is told, if the other is there.
func TestISOMissing(t *testing.T) {
	defer func(dir string) { grubFiles = dir }(grubFiles)
	for _, tt := range []struct {
		have []string
		want string
	}{{nil, ""}, {[]string{"i386-pc"}, "UEFI"}, {[]string{"x86_64-efi"}, "BIOS"}, {[]string{"i386-pc", "x86_64-efi"}, ""}} {
		grubFiles = t.TempDir()
		for _, dir := range tt.have {
			if err := os.Mkdir(filepath.Join(grubFiles, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if way, pkg := ISOMissing(); way != tt.want || (pkg == "") != (way == "") {
			t.Errorf("with %q %q is missing (%s), want %q", tt.have, way, pkg, tt.want)
		}
	}
}
