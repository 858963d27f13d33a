package apt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const deb822Debian = `# written by the image builder
Types: deb deb-src
# snapshot of the day
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`

const deb822Keyed = `enabled: no
types: deb
uris: https://apt.example.com/node
suites: nodistro
components: main


Types: deb
URIs:
 https://one.example.org/debian
 https://two.example.org/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdA
 -----END PGP PUBLIC KEY BLOCK-----
Check-Valid-Until: no
`

const oneLine = `# deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 NETINST]/ bookworm main
deb http://security.example.org/debian-security bookworm-security main # updates
deb-src http://mirror.example.org/debian bookworm main
deb	[arch=amd64,i386 signed-by=/etc/keys/archive.gpg check-valid-until=no]  http://mirror.example.org/debian/   bookworm main non-free-firmware
deb http://mirror.example.org/tool ./
`

func TestParseDeb822(t *testing.T) {
	got, err := parseDeb822(deb822Debian)
	if err != nil {
		t.Fatal(err)
	}
	keyring := map[string]string{"Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg"}
	want := []Source{
		{Types: []string{"deb", "deb-src"}, URIs: []string{"http://mirror.example.org/debian"}, Suites: []string{"bookworm", "bookworm-updates"}, Components: []string{"main", "contrib"}, Options: keyring},
		{Types: []string{"deb"}, URIs: []string{"http://mirror.example.org/debian-security"}, Suites: []string{"bookworm-security"}, Components: []string{"main"}, Options: keyring},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}

	got, err = parseDeb822(deb822Keyed)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].Disabled || got[1].Disabled {
		t.Fatalf("sources = %+v, want a disabled and an enabled one", got)
	}
	if diff := cmp.Diff([]string{"https://one.example.org/debian", "https://two.example.org/debian"}, got[1].URIs); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if key := got[1].Options["Signed-By"]; !strings.Contains(key, "\n .\n mDMEY865UxYJKwYBBAHaRw8BAQdA\n") {
		t.Errorf("embedded key = %q", key)
	}
}

func TestParseOneLine(t *testing.T) {
	got, err := parseOneLine(oneLine)
	if err != nil {
		t.Fatal(err)
	}
	none := map[string]string{}
	want := []Source{
		{Types: []string{"deb"}, URIs: []string{"cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 NETINST]/"}, Suites: []string{"bookworm"}, Components: []string{"main"}, Options: none},
		{Types: []string{"deb"}, URIs: []string{"http://security.example.org/debian-security"}, Suites: []string{"bookworm-security"}, Components: []string{"main"}, Options: none},
		{Types: []string{"deb-src"}, URIs: []string{"http://mirror.example.org/debian"}, Suites: []string{"bookworm"}, Components: []string{"main"}, Options: none},
		{
			Types: []string{"deb"}, URIs: []string{"http://mirror.example.org/debian/"}, Suites: []string{"bookworm"}, Components: []string{"main", "non-free-firmware"},
			Options: map[string]string{"Architectures": "amd64 i386", "Signed-By": "/etc/keys/archive.gpg", "Check-Valid-Until": "no"},
		},
		{Types: []string{"deb"}, URIs: []string{"http://mirror.example.org/tool"}, Suites: []string{"./"}, Components: []string{}, Options: none},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestMalformedSources(t *testing.T) {
	for _, text := range []string{"deb", "deb http://mirror.example.org/debian", "deb [arch=amd64 http://mirror.example.org/debian x main", "deb [arch] http://mirror.example.org/debian x main", "deb cdrom:[x bookworm main"} {
		if got, err := parseOneLine(text); err == nil {
			t.Errorf("%q is accepted: %+v", text, got)
		}
	}
	for _, text := range []string{" value without field", "Types deb"} {
		if got, err := parseDeb822(text); err == nil {
			t.Errorf("%q is accepted: %+v", text, got)
		}
	}
}

// TestSourceRoundTrip writes what was read and reads it again.
func TestSourceRoundTrip(t *testing.T) {
	for _, text := range []string{deb822Debian, deb822Keyed} {
		sources, err := parseDeb822(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			again, err := parseDeb822(s.String())
			if err != nil {
				t.Fatalf("%v in\n%s", err, s)
			}
			s.Disabled = false // only enabled entries are ever written
			if diff := cmp.Diff([]Source{s}, again); diff != "" {
				t.Errorf("read again (-want +got):\n%s", diff)
			}
		}
	}
}

// aptDir writes a sources.list and files of sources.list.d and returns the directory that holds them.
func aptDir(t *testing.T, list string, parts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	parts["../sources.list"] = list
	for name, text := range parts {
		if err := os.WriteFile(filepath.Join(dir, "sources.list.d", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadAndPickArchive(t *testing.T) {
	tests := []struct {
		name, list string
		parts      map[string]string
		want       string // the private source, in deb822
	}{
		{
			name: "deb822", parts: map[string]string{"debian.sources": deb822Debian, "old.list.disabled": "deb x"},
			want: "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: trixie trixie-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
		},
		{
			name: "one line", list: oneLine, parts: map[string]string{},
			want: "Types: deb\nURIs: http://mirror.example.org/debian/\nSuites: trixie trixie-backports\nComponents: main\nCheck-Valid-Until: no\nSigned-By: /etc/keys/archive.gpg\n",
		},
		{
			name: "archive on a disk", list: "deb [trusted=yes] file:/media/disk/debian sid main", parts: map[string]string{},
			want: "Types: deb\nURIs: copy:/media/disk/debian\nSuites: trixie trixie-backports\nComponents: main\nTrusted: yes\n",
		},
		{
			name: "second file, embedded key", parts: map[string]string{"a.list": "deb http://apt.example.com/debian-tool tool main", "b.sources": deb822Keyed},
			want: "Types: deb\nURIs: https://one.example.org/debian\nSuites: trixie trixie-backports\nComponents: main\nCheck-Valid-Until: no\nSigned-By: \n" +
				" -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY865UxYJKwYBBAHaRw8BAQdA\n -----END PGP PUBLIC KEY BLOCK-----\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sources, err := ReadSources(aptDir(t, test.list, test.parts))
			if err != nil {
				t.Fatal(err)
			}
			archive, err := PickArchive(sources)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, archive.WithSuites("trixie", "trixie-backports").String()); diff != "" {
				t.Errorf("private source (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPickArchiveRefusesOthers(t *testing.T) {
	for _, list := range []string{
		"",
		"deb http://mirror.example.org/ubuntu noble main",
		"deb http://mirror.example.org/debian-security bookworm-security main",
		"deb http://mirror.example.org/debian bookworm contrib",
		"deb-src http://mirror.example.org/debian bookworm main",
	} {
		sources, err := ReadSources(aptDir(t, list, map[string]string{}))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := PickArchive(sources); !errors.Is(err, ErrNoArchive) {
			t.Errorf("%q gives %+v, %v", list, got, err)
		}
	}
}

func TestReadSourcesNamesTheBrokenFile(t *testing.T) {
	_, err := ReadSources(aptDir(t, "", map[string]string{"broken.list": "deb x"}))
	if err == nil || !strings.Contains(err.Error(), "broken.list: line 1") {
		t.Errorf("error = %v", err)
	}
}
