package release

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// topics are the texts of "vvufwd help" by their names.
type topics map[string]string

func (t topics) names() []string { return slices.Sorted(maps.Keys(t)) }

// helpDir is where they are in the source.
const helpDir = "cmd/vvufwd/help"

// topicTexts reads them from the source: shared code imports no program's package.
func topicTexts(source string) (topics, error) {
	files, err := filepath.Glob(filepath.Join(source, helpDir, "*.md"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no topics of vvufwd help", source)
	}
	all := make(topics)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[strings.TrimSuffix(filepath.Base(file), ".md")] = string(text)
	}
	return all, nil
}
