package service

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	t.Setenv(socketEnv, "")
	if err := Ready(); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	file := filepath.Join(t.TempDir(), "notify")
	for _, name := range []string{file, "@" + file} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		t.Setenv(socketEnv, name)
		if err := Ready(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, there := os.LookupEnv(socketEnv); there {
			t.Errorf("%s: who is started later could tell, too", name)
		}
		l.SetReadDeadline(time.Now().Add(time.Minute))
		var text [64]byte
		if n, err := l.Read(text[:]); err != nil || string(text[:n]) != "READY=1" {
			t.Errorf("%s: %q, %v", name, text[:n], err)
		}
	}
	t.Setenv(socketEnv, file+".absent")
	if err := Ready(); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET="+file+".absent") {
		t.Errorf("no one there: %v", err)
	}
}
