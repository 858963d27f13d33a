package apt

import (
	"fmt"
	"strings"
)

// parseOneLine reads the older form of sources.list(5):
//
//	deb [ option=value option=value ] uri suite component component
func parseOneLine(text string) ([]Source, error) {
	var sources []Source
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func parseLine(line string) (Source, error) {
	kind, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	rest = strings.TrimSpace(rest)
	s := Source{Types: []string{kind}, Options: make(map[string]string)}
	if strings.HasPrefix(rest, "[") {
		options, after, closed := strings.Cut(rest[1:], "]")
		if !closed {
			return Source{}, fmt.Errorf("no closing bracket in %q", line)
		}
		for _, option := range strings.Fields(options) {
			name, value, found := strings.Cut(option, "=")
			if !found {
				return Source{}, fmt.Errorf("option %q has no value", option)
			}
			s.setOption(name, value)
		}
		rest = strings.TrimSpace(after)
	}
	uri, rest, err := cutURI(rest)
	if err != nil {
		return Source{}, err
	}
	words := strings.Fields(rest)
	if uri == "" || len(words) == 0 {
		return Source{}, fmt.Errorf("no address or suite in %q", line)
	}
	s.URIs, s.Suites, s.Components = []string{uri}, words[:1], words[1:]
	return s, nil
}

// cutURI splits off the address. That of a CD has spaces between brackets.
func cutURI(text string) (uri, rest string, err error) {
	from := 0
	if open := strings.IndexByte(text, '['); open >= 0 && !strings.Contains(text[:open], " ") {
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return "", "", fmt.Errorf("no closing bracket in %q", text)
		}
		from = end
	}
	space := strings.IndexByte(text[from:], ' ')
	if space < 0 {
		return text, "", nil
	}
	return text[:from+space], text[from+space:], nil
}

// setOption keeps an option under its deb822 name. Several values are parted by commas in the older form.
func (s *Source) setOption(name, value string) {
	known := map[string]string{"arch": "Architectures", "lang": "Languages", "target": "Targets"}
	field, found := known[strings.ToLower(name)]
	if !found {
		field = fieldName(name)
	}
	if field != "Signed-By" { // a path may hold a comma
		value = strings.ReplaceAll(value, ",", " ")
	}
	s.Options[field] = value
}
