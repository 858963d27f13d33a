package release

import (
	"context"
	"path/filepath"

	"vvufwd/cmd/internal/dist/manual"
	"vvufwd/cmd/internal/dist/tree"
)

// pages are all manual pages by the names of their files.
func (r Release) pages(s shared) (map[string][]byte, error) {
	topics, err := topicTexts(r.Source)
	if err != nil {
		return nil, err
	}
	of := manual.Edition{Version: s.version, Date: s.when, Programs: r.Commands, Topics: topics.names()}
	pages := make(map[string][]byte)
	for _, d := range s.programs {
		p, err := manual.Program(d, filepath.Join(r.Source, "cmd", d.Program), of)
		if err != nil {
			return nil, err
		}
		pages[p.File()] = p.Roff
	}
	for name, text := range topics {
		p := manual.Topic(name, text, of)
		pages[p.File()] = p.Roff
	}
	return pages, nil
}

// inSection is where a manual page belongs below a directory of them: vvufwd.1 at man1/vvufwd.1.
func inSection(page string) string { return "man" + page[len(page)-1:] + "/" + page }

// Manual writes the manual pages of programs in the directory bin into the directory out.
func (r Release) Manual(ctx context.Context, bin, out string) error {
	s, err := r.documented(ctx, bin)
	if err != nil {
		return err
	}
	files := make(tree.Tree)
	for name, text := range s.pages {
		files.Add(inSection(name), text)
	}
	return files.Write(out, s.when)
}
