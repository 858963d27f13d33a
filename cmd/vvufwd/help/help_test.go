package help_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/vvufwd/help"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/l2nat"
	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Every topic is listed with what it is about, and its text is printed.
func TestTopicsAreListed(t *testing.T) {
	var list bytes.Buffer
	if err := help.Run(nil, &list); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 10 || len(files) != len(help.Topics()) {
		t.Fatalf("files %q, topics %q, %v", files, help.Topics(), err)
	}
	for _, file := range files {
		topic := strings.TrimSuffix(file, ".md")
		if !regexp.MustCompile(`(?m)^  ` + topic + ` +\S.*$`).Match(list.Bytes()) {
			t.Errorf("%s has no line in the list:\n%s", topic, &list)
		}
		if !strings.HasPrefix(help.Text(topic), "# ") {
			t.Errorf("%s does not begin with a heading", file)
		}
		var text bytes.Buffer
		if err := help.Run([]string{topic}, &text); err != nil || text.String() != help.Text(topic) {
			t.Errorf("help %s prints %d bytes: %v", topic, text.Len(), err)
		}
	}
}

// What is no topic is a mistake on the command line; the message names those that there are.
func TestNoSuchTopic(t *testing.T) {
	for _, args := range [][]string{{"nosuch"}, {"flags", "ports"}, {""}, {"flags.md"}, {"../help"}} {
		var out bytes.Buffer
		err := help.Run(args, &out)
		if !cli.IsUsage(err) || !strings.Contains(err.Error(), strings.Join(help.Topics(), ", ")) {
			t.Errorf("help %q: %v", args, err)
		}
		if out.Len() > 0 {
			t.Errorf("help %q prints %q", args, &out)
		}
	}
}

// link is a link of Markdown: its text and where it leads.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Every relative link of the README and of the topics leads to a file, and one with a fragment to a heading
// in it. The README knows all topics.
func TestLinksLeadSomewhere(t *testing.T) {
	const readme = "../../../README.md"
	files := []string{readme}
	for _, topic := range help.Topics() {
		files = append(files, topic+".md")
	}
	known := map[string]bool{}
	for _, file := range files {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", file, m[1], err)
				continue
			}
			if fragment != "" && !strings.Contains(anchors(read(t, target)), " "+fragment+" ") {
				t.Errorf("%s: link to %s: there is no such heading", file, m[1])
			}
			if file == readme {
				known[filepath.Base(target)] = true
			}
		}
	}
	for _, topic := range help.Topics() {
		if !known[topic+".md"] {
			t.Errorf("README.md does not link to %s.md", topic)
		}
	}
}

// anchors are the fragments of a Markdown text's headings, with a space around each.
func anchors(text string) string {
	all := " "
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all += strings.ReplaceAll(slug, " ", "-") + " "
	}
	return all
}

// A README that one reads before anything else is short.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(read(t, "../../../README.md"), "\n"); n > 250 {
		t.Errorf("README.md has %d lines, more than 250: the reference is in cmd/vvufwd/help", n)
	}
}

// Every reason for a drop and every fault of a ring is in the glossary, by the name that statistics give it.
func TestGlossaryHasAllReasons(t *testing.T) {
	text := help.Text("statistics")
	for why := range virtionet.NumDrops {
		if !strings.Contains(text, fmt.Sprintf("| `%s` |", why)) {
			t.Errorf("topic statistics has no row for drops of %s", why)
		}
	}
	for fault := vring.Fault(1); fault < vring.NumFaults; fault++ {
		if !strings.Contains(text, "| `"+fault.String()+"` |") {
			t.Errorf("topic statistics has no row for the fault %q", fault.String())
		}
	}
}

// So is what Intel's NICs count themselves.
func TestGlossaryHasNICCounters(t *testing.T) {
	for _, c := range intel.Common {
		if !strings.Contains(help.Text("statistics"), "| `"+c.Name+"` |") {
			t.Errorf("topic statistics has no row for a NIC's %s", c.Name)
		}
	}
}

// Every field of the JSON that statistics are is in the glossary.
func TestGlossaryHasAllFields(t *testing.T) {
	text := help.Text("statistics")
	var seen int
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				f := of.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "" {
					continue
				}
				seen++
				if !strings.Contains(text, "| `"+name+"` |") {
					t.Errorf("topic statistics has no row for %s of %s", name, of)
				}
				walk(f.Type)
			}
		}
	}
	for _, v := range []any{netfwd.Stats{}, nic.State{}, netdev.Stats{}, l2nat.Stats{}} {
		walk(reflect.TypeOf(v))
	}
	if seen < 40 {
		t.Errorf("only %d fields were found", seen)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
