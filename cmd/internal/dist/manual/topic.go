package manual

import (
	"fmt"
	"regexp"
	"strings"
)

// topicPage is the name of a topic's page.
func topicPage(topic string) string { return "vvufwd-" + topic }

var (
	toTopic = regexp.MustCompile(`\[[^\]]*\]\(([a-z0-9]+)\.md(?:#[^)]*)?\)`)
	toFile  = regexp.MustCompile(`\[([^\]]*)\]\([^):]*\)`)
	heading = regexp.MustCompile(`(?m)^#(#*) (.*)$`)
)

// Topic is the page of a topic of "vvufwd help", whose text is Markdown. Links to other topics become names of pages.
func Topic(name, text string, of Edition) Page {
	title, body, _ := strings.Cut(text, "\n")
	title = strings.TrimPrefix(title, "# ")
	body = wideTablesAsLists(body)
	body = toTopic.ReplaceAllString(body, "**vvufwd-$1**(7)")
	body = toFile.ReplaceAllString(body, "$1")
	body = heading.ReplaceAllString(body, "$1 $2") // the title is none of the page's headings
	text = fmt.Sprintf("# NAME\n\n%s - %s\n\n# DESCRIPTION\n\n%s\n# SEE ALSO\n\n%s\n", topicPage(name), title, body, "**vvufwd**(1)")
	return of.page(topicPage(name), 7, text)
}
