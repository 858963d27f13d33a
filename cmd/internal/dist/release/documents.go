package release

import (
	"os"
	"path/filepath"

	"vvufwd/cmd/internal/dist/tree"
)

// documents are the README and the topics that it has links to, at the same places as in the source, so that these lead somewhere.
func documents(source string) (tree.Tree, error) {
	readme, err := os.ReadFile(filepath.Join(source, "README.md"))
	if err != nil {
		return nil, err
	}
	topics, err := topicTexts(source)
	if err != nil {
		return nil, err
	}
	all := make(tree.Tree)
	all.Add("README.md", readme)
	for name, text := range topics {
		all.Add(filepath.Join(helpDir, name+".md"), []byte(text))
	}
	return all, nil
}
