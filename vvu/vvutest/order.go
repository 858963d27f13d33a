package vvutest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// Orders are the orders of messages of one front-end, as recorded in
// testdata/orders, where they are explained.
type Orders struct {
	Name     string
	Features virtio.Features            // that its guest acknowledges
	Protocol vhostuser.ProtocolFeatures // that it wants
	AskAll   bool                       // it has every message acknowledged
	sections map[string][]step
}

// step is one message, or the messages that every ring gets.
type step struct {
	line    int
	needs   vhostuser.ProtocolFeatures // without which it is left out
	request vhostuser.Request          // 0: each, or a kick
	args    []string
	each    []step
}

// LoadOrders reads the orders of a front-end, "crosvm" for one.
func LoadOrders(t testing.TB, name string) *Orders {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleDir(t), "testdata", "orders", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseOrders(string(text))
	if err != nil {
		t.Fatalf("testdata/orders/%s.txt: %v", name, err)
	}
	o.Name = name
	return o
}

// moduleDir is the directory of go.mod, above that of the test.
func moduleDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("the test does not run in the source tree")
		}
		dir = above
	}
}

func parseOrders(text string) (*Orders, error) {
	o := &Orders{sections: map[string][]step{}}
	section := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		body := strings.TrimSpace(line)
		var err error
		switch {
		case body == "" || body[0] == '#':
		case body[0] == '[':
			section = strings.Trim(body, "[]")
			if _, twice := o.sections[section]; twice {
				return nil, fmt.Errorf("line %d: a second section %q", n, section)
			}
			o.sections[section] = nil
		case section == "":
			err = o.parseHeader(body)
		default:
			err = o.add(section, n, body, line[0] == ' ')
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return o, lines.Err()
}

func (o *Orders) parseHeader(line string) error {
	words := strings.Fields(line)
	switch words[0] {
	case "features":
		for _, name := range words[1:] {
			bit, err := indexNamed(name, func(bit int) string { return virtio.Features(1 << bit).String() })
			if err != nil {
				return err
			}
			o.Features |= 1 << bit
		}
	case "protocol":
		for _, name := range words[1:] {
			bit, err := protocolNamed(name)
			if err != nil {
				return err
			}
			o.Protocol |= bit
		}
	case "acknowledgements":
		o.AskAll = words[1] == "all"
	default:
		return fmt.Errorf("%q belongs to no section", line)
	}
	return nil
}

func (o *Orders) add(section string, n int, line string, inner bool) error {
	s := step{line: n}
	words := strings.Fields(line)
	if name, conditional := strings.CutSuffix(words[0], "?"); conditional {
		var err error
		if s.needs, err = protocolNamed(name); err != nil {
			return err
		}
		words = words[1:]
	}
	steps := o.sections[section]
	switch {
	case line == "each ring":
		s.each = []step{}
	case line == "kick":
	default:
		number, err := indexNamed(words[0], func(i int) string { return vhostuser.Request(i).String() })
		if err != nil {
			return err
		}
		s.request, s.args = vhostuser.Request(number), words[1:]
	}
	if !inner {
		o.sections[section] = append(steps, s)
		return nil
	}
	if len(steps) == 0 || steps[len(steps)-1].each == nil {
		return fmt.Errorf("%q is indented, but not below \"each ring\"", line)
	}
	last := &steps[len(steps)-1]
	last.each = append(last.each, s)
	return nil
}

// indexNamed returns the number below 64 that is called name.
func indexNamed(name string, of func(i int) string) (int, error) {
	for i := range 64 {
		if of(i) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no one is called %q", name)
}

func protocolNamed(name string) (vhostuser.ProtocolFeatures, error) {
	bit, err := indexNamed(name, func(bit int) string { return vhostuser.ProtocolFeatures(1 << bit).String() })
	return 1 << bit, err
}

// number reads argument i of a step.
func (s *step) number(i int) (uint32, error) {
	if i >= len(s.args) {
		return 0, fmt.Errorf("line %d: %v lacks a number", s.line, s.request)
	}
	v, err := strconv.ParseUint(s.args[i], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("line %d: %v: %w", s.line, s.request, err)
	}
	return uint32(v), nil
}

// has reports whether a word is among a step's arguments.
func (s *step) has(word string) bool { return slices.Contains(s.args, word) }
