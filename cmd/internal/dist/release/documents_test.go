package release

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// No link of a document leads out of what is released.
func TestDocuments(t *testing.T) {
	all, err := documents(source)
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for name, file := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllSubmatch(file.Body, -1) {
			to, _, _ := strings.Cut(string(m[1]), "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			links++
			if _, there := all[path.Join(path.Dir(name), to)]; !there {
				t.Errorf("%s: a link to %s, which is not released", name, to)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}
