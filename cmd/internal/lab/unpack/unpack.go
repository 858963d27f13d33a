// Package unpack decompresses what kernels come with: modules, firmware, and kernels themselves.
package unpack

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// formats are how files may be compressed: the end of their names, and what they begin with.
var formats = []struct {
	name  string
	magic []byte
	open  func(io.Reader) (io.Reader, error)
}{
	{"gz", []byte{0x1f, 0x8b}, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"xz", []byte("\xfd7zXZ\x00"), func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) }},
	{"zst", []byte{0x28, 0xb5, 0x2f, 0xfd}, func(r io.Reader) (io.Reader, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<28)) // kernels are made with windows of 128 MiB
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}},
}

// Format tells from its beginning how something is compressed: "gz", "xz", "zst", or "" for anything else.
func Format(data []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(data, f.magic) {
			return f.name
		}
	}
	return ""
}

// All decompresses all that is in r, as far as it goes, with the first error. More than so many bytes are one.
func All(r io.Reader, format string, most int64) ([]byte, error) {
	for _, f := range formats {
		if f.name != format {
			continue
		}
		opened, err := f.open(r)
		if err != nil {
			return nil, err
		}
		if c, ok := opened.(io.Closer); ok {
			defer c.Close()
		}
		data, err := io.ReadAll(io.LimitReader(opened, most+1))
		if int64(len(data)) > most {
			return nil, fmt.Errorf("more than %d MiB decompressed", most>>20)
		}
		return data, err
	}
	return nil, fmt.Errorf("cannot decompress %q", format)
}

// largestFile bounds what a file may decompress to, in bytes.
const largestFile = 1 << 30

// File reads a file, and decompresses it if its name ends with the name of a format. The error names the file.
func File(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	format := filepath.Ext(path)
	for _, f := range formats {
		if format != "."+f.name {
			continue
		}
		if data, err = All(bytes.NewReader(data), f.name, largestFile); err != nil {
			return nil, fmt.Errorf("decompress %s: %w", path, err)
		}
	}
	return data, nil
}
