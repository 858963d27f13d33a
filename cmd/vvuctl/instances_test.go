package main

import (
	"os"
	"path/filepath"
	"testing"

	"vvufwd/cmd/internal/channel"
)

// Where services answer is told to who has not said where to ask, and to no one else.
func TestServicesAreNamed(t *testing.T) {
	dir := t.TempDir()
	defer func(before string) { instances = before }(instances)
	instances = dir + "/vvufwd-*/control.sock"
	nowhere := options{control: channel.Address{Kind: channel.UNIX, Path: defaultControl}}
	if got := nowhere.services(); got != "" {
		t.Errorf("without a service: %q", got)
	}
	want := ": "
	for i, name := range []string{"vvufwd-a", "vvufwd-b"} {
		socket := filepath.Join(dir, name, "control.sock")
		if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(socket, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			want += " or "
		}
		want += socket
	}
	if got := nowhere.services(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (options{control: channel.Address{Kind: channel.UNIX, Path: "/run/other.sock"}}).services(); got != "" {
		t.Errorf("who names a socket is told%s", got)
	}
}
