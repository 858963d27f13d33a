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

// Manual writes the manual pages of programs in the directory bin into the directory out.
func (r Release) Manual(ctx context.Context, bin, out string) error {
	var s shared
	var err error
	if s.version, s.when, err = origin(filepath.Join(bin, r.Commands[0])); err != nil {
		return err
	}
	if s.programs, err = r.describe(ctx, bin); err != nil {
		return err
	}
	pages, err := r.pages(s)
	if err != nil {
		return err
	}
	files := make(tree.Tree)
	for name, text := range pages {
		files.Add("man"+name[len(name)-1:]+"/"+name, text)
	}
	return files.Write(out, s.when)
}
