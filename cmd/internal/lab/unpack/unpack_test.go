package unpack

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func pack(t *testing.T, format string, body []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "gz":
		w = gzip.NewWriter(&packed)
	case "xz":
		w, err = xz.NewWriter(&packed)
	case "zst":
		w, err = zstd.NewWriter(&packed)
	default:
		return body
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestFileInAllFormats(t *testing.T) {
	body := bytes.Repeat([]byte("a module's bytes "), 5000)
	for format, suffix := range map[string]string{"": "", "gz": ".gz", "xz": ".xz", "zst": ".zst"} {
		path := filepath.Join(t.TempDir(), "a.ko"+suffix)
		packed := pack(t, format, body)
		if got := Format(packed); got != format {
			t.Errorf("Format of %q = %q", format, got)
		}
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := File(path); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%q: %d bytes, %v, want %d", format, len(got), err, len(body))
		}
		if format == "" {
			continue
		}
		if err := os.WriteFile(path, packed[:len(packed)-9], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := File(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q that is cut off: %v, want an error that names the file", format, err)
		}
		if _, err := All(bytes.NewReader(packed), format, 1000); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%q that is too large: %v", format, err)
		}
	}
}
