package apt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// parseDeb822 reads the form of sources.list(5) that is called deb822: stanzas of "Field: value", parted by empty lines,
// with continuation lines that begin with white space, and comment lines that begin with a number sign anywhere.
func parseDeb822(text string) ([]Source, error) {
	var (
		sources []Source
		stanza  = make(map[string]string)
		field   string
	)
	finish := func() {
		if len(stanza) > 0 {
			sources = append(sources, fromStanza(stanza))
		}
		stanza, field = make(map[string]string), ""
	}
	for n, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			finish()
		case line[0] == ' ' || line[0] == '\t':
			if field == "" {
				return nil, fmt.Errorf("line %d: a continuation line without a field before it", n+1)
			}
			stanza[field] += "\n" + strings.TrimRight(line, " \t\r")
		default:
			name, value, found := strings.Cut(line, ":")
			if !found {
				return nil, fmt.Errorf("line %d: no colon in %q", n+1, line)
			}
			field = fieldName(name)
			stanza[field] = strings.TrimSpace(value)
		}
	}
	finish()
	return sources, nil
}

// fromStanza sorts the fields of a stanza into a Source and empties the map of those that have a place of their own.
func fromStanza(stanza map[string]string) Source {
	take := func(name string) []string {
		value := stanza[name]
		delete(stanza, name)
		return strings.Fields(value)
	}
	s := Source{Types: take("Types"), URIs: take("URIs"), Suites: take("Suites"), Components: take("Components")}
	s.Disabled = slices.ContainsFunc(take("Enabled"), func(v string) bool {
		return slices.Contains([]string{"no", "false", "off", "without", "disable", "0"}, strings.ToLower(v))
	})
	s.Options = stanza
	return s
}

// fieldName gives a field the capitals of the manual page, because apt does not care about them.
func fieldName(name string) string {
	words := strings.Split(strings.ToLower(strings.TrimSpace(name)), "-")
	for i, w := range words {
		switch {
		case w == "uris":
			words[i] = "URIs"
		case w != "":
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "-")
}

// String writes the source as a deb822 stanza.
func (s Source) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: %s\nURIs: %s\nSuites: %s\n", strings.Join(s.Types, " "), strings.Join(s.URIs, " "), strings.Join(s.Suites, " "))
	if len(s.Components) > 0 {
		fmt.Fprintf(&b, "Components: %s\n", strings.Join(s.Components, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		fmt.Fprintf(&b, "%s: %s\n", name, s.Options[name])
	}
	return b.String()
}
