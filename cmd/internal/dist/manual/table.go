package manual

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// widest is how wide a table may be on a page: a terminal has 80 columns, of which seven are the margin.
const widest = 70

// rule is the second line of a table of Markdown.
var rule = regexp.MustCompile(`^\|[ :|-]+\|$`)

// wideTablesAsLists makes lists of tables that are too wide for a terminal: the first cell of a row, and below it the others, each with
// the head of its column.
func wideTablesAsLists(text string) string {
	var out []string
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if i+1 >= len(lines) || !strings.HasPrefix(lines[i], "|") || !rule.MatchString(lines[i+1]) {
			out = append(out, lines[i])
			continue
		}
		end := i
		for end < len(lines) && strings.HasPrefix(lines[end], "|") {
			end++
		}
		table := lines[i:end]
		if width(table) <= widest {
			out = append(out, table...)
		} else {
			out = append(out, asList(table)...)
		}
		i = end - 1
	}
	return strings.Join(out, "\n")
}

// width is how many columns a table takes if no cell is broken.
func width(table []string) int {
	var columns []int
	for _, row := range table {
		for i, cell := range cells(row) {
			if i == len(columns) {
				columns = append(columns, 0)
			}
			if cell = toTopic.ReplaceAllString(cell, "vvufwd-$1(7)"); !rule.MatchString(row) {
				columns[i] = max(columns[i], utf8.RuneCountInString(cell))
			}
		}
	}
	sum := 0
	for _, n := range columns {
		sum += n + 3
	}
	return sum
}

func asList(table []string) []string {
	heads := cells(table[0])
	var out []string
	for _, row := range table[2:] {
		all := cells(strings.ReplaceAll(row, `\|`, "\x00"))
		out = append(out, "", "**"+strings.ReplaceAll(all[0], "**", "")+"**")
		var text []string
		for i, cell := range all[1:] {
			switch {
			case cell == "":
			case len(heads) <= 2 || i+1 >= len(heads) || heads[i+1] == "":
				text = append(text, cell)
			default:
				text = append(text, heads[i+1]+": "+cell)
			}
		}
		out = append(out, ":   "+strings.Join(text, "; "))
	}
	for i := range out { // a bar that was escaped is none of a table's any more
		out[i] = strings.ReplaceAll(out[i], "\x00", "|")
	}
	return append(out, "")
}

// cells are those of a row, trimmed. A bar that is escaped, or is in code, parts none.
func cells(row string) []string {
	var all []string
	var cell strings.Builder
	code, escaped := false, false
	for _, r := range strings.Trim(strings.TrimSpace(row), "|") {
		if r == '|' && !code && !escaped {
			all = append(all, strings.TrimSpace(cell.String()))
			cell.Reset()
			continue
		}
		code, escaped = code != (r == '`'), r == '\\'
		cell.WriteRune(r)
	}
	return append(all, strings.TrimSpace(cell.String()))
}
