package layout

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// TestBuildIsIgnored keeps "./..." out of build/, which is unpacked, renamed and removed while the tests run: a pattern that meets
// a directory which is going away fails.
func TestBuildIsIgnored(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Ignore []struct{ Path string } }
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	for _, ignored := range file.Ignore {
		if ignored.Path == "./build" {
			return
		}
	}
	t.Errorf("go.mod does not ignore ./build, only %v", file.Ignore)
}
