package metrics

import (
	"bytes"
	"strconv"
	"strings"
)

// Kinds of metrics.
const (
	counter = "counter"
	gauge   = "gauge"
)

// text collects metrics in the text format, version 0.0.4: each family in one piece, with what it is before its samples.
type text struct {
	out  bytes.Buffer
	name string // of the family whose samples follow
}

// family begins a metric.
func (t *text) family(name, kind, help string) {
	t.name = name
	t.out.WriteString("# HELP " + name + " " + helpEscapes.Replace(help) + "\n# TYPE " + name + " " + kind + "\n")
}

// count adds a sample; labels are names and values in turn.
func (t *text) count(n uint64, labels ...string) { t.sample(strconv.FormatUint(n, 10), labels) }

// number adds a sample that is no whole number.
func (t *text) number(v float64, labels ...string) {
	t.sample(strconv.FormatFloat(v, 'g', -1, 64), labels)
}

// flag adds a sample that is 1 or 0.
func (t *text) flag(v bool, labels ...string) {
	n := uint64(0)
	if v {
		n = 1
	}
	t.count(n, labels...)
}

func (t *text) sample(value string, labels []string) {
	t.out.WriteString(t.name)
	for i := 0; i+1 < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		t.out.WriteString(separator + labels[i] + `="` + labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		t.out.WriteByte('}')
	}
	t.out.WriteString(" " + value + "\n")
}

// What has a meaning in a help text, and in a label's value.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)
