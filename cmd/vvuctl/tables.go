package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/control"
	"vvufwd/netfwd"
)

// show prints an answer for a person.
func show(r control.Request, data json.RawMessage, out io.Writer) error {
	switch r.Do {
	case control.Ports:
		return table(data, out, showPorts)
	case control.Stats:
		return readStats(data, func(s netfwd.Stats) error { return s.WriteTable(out) })
	case control.Links:
		return table(data, out, showLinks)
	case control.Switch:
		return table(data, out, showSwitch)
	case control.Captures:
		return table(data, out, showCaptures)
	case control.LogLevel:
		return read(data, func(l control.Level) error { return printLine(out, l.Level+"\n") })
	case control.Version:
		return read(data, func(v string) error { return printLine(out, v+"\n") })
	}
	return read(data, func(text string) error { return printLine(out, text) })
}

func printLine(out io.Writer, text string) error {
	_, err := io.WriteString(out, text)
	return err
}

// read reads data of a type.
func read[T any](data json.RawMessage, use func(T) error) error {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("an answer that is not understood (is vvufwd of another version?): %w", err)
	}
	return use(v)
}

// readStats reads statistics.
func readStats(data json.RawMessage, use func(netfwd.Stats) error) error {
	return readRows(data, func(s netfwd.Stats) error {
		for i := range s.Ports {
			s.Ports[i].Name = cell(s.Ports[i].Name)
		}
		return use(s)
	})
}

// Bounds of what is printed in columns. A switch has at most 64 ports of 8 queue pairs; the longest name is the path of a capture's file.
const (
	maxRows = 4096
	maxCell = 4096 // bytes
)

// readRows reads data that are for columns. All rows become as wide as the widest: of a driver VM that was taken over a few megabytes
// would become so many that vvuctl does not end.
func readRows[T any](data json.RawMessage, use func(T) error) error {
	return read(data, func(all any) error {
		if err := bounded(all); err != nil {
			return err
		}
		return read(data, use)
	})
}

// bounded fails if there are more rows or longer names in an answer than a vvufwd can have.
func bounded(v any) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxCell {
			return fmt.Errorf("an answer with a name of %d bytes, more than any of a vvufwd: --json prints it as it is", len(v))
		}
	case []any:
		if len(v) > maxRows {
			return fmt.Errorf("an answer with a list of %d, more than any of a vvufwd: --json prints it as it is", len(v))
		}
		for _, one := range v {
			if err := bounded(one); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, one := range v {
			if err := bounded(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// cell is what stands in a column: a newline or a tab in a name makes no other row or column.
func cell(text string) string { return strings.ReplaceAll(cli.Printable(text), "\n", " ") }

// row prints a row of cells.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = cell(fmt.Sprint(c))
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// table reads data and prints them in columns.
func table[T any](data json.RawMessage, out io.Writer, print func(io.Writer, T)) error {
	return readRows(data, func(v T) error {
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		print(t, v)
		return t.Flush()
	})
}

func showPorts(w io.Writer, list []control.Port) {
	row(w, "port", "kind", "with", "queues", "of", "options")
	for _, p := range list {
		row(w, p.Name, p.Kind, p.With, p.Used, p.Pairs, portOptions(p))
	}
}

func portOptions(p control.Port) string {
	text := ""
	if p.Address != "" {
		text = "mac=" + p.Address
	}
	if p.Isolated {
		if text != "" {
			text += ","
		}
		text += "isolate"
	}
	return dash(text)
}

// dash stands for nothing, so that columns can be counted.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func showLinks(w io.Writer, list []control.Link) {
	row(w, "port", "kind", "link", "returns", "why")
	for _, l := range list {
		up, returns := "down", "-"
		if l.Up {
			up = "up"
		}
		if l.Returns != nil {
			returns = strconv.FormatUint(*l.Returns, 10)
		}
		row(w, l.Name, l.Kind, up, returns, dash(l.Why))
	}
}

func showSwitch(w io.Writer, b control.Bridge) {
	row(w, "port", "kind", "uplink", "options")
	for _, p := range b.Ports {
		uplink := "-"
		if p.Uplink {
			uplink = "uplink"
		}
		row(w, p.Name, p.Kind, uplink, portOptions(p))
	}
	fmt.Fprintf(w, "\naddresses learned\t%d\naddresses given\t%d\nmoves\t%d\nnot learned\t%d\nfloods\t%d\n", b.Learned, b.Static, b.Moves, b.Refused, b.Floods)
}

func showCaptures(w io.Writer, list []control.Capture) {
	row(w, "port", "file", "state", "frames", "missed", "snaplen", "filter")
	for _, c := range list {
		state := "off"
		switch {
		case c.Ended != "":
			state = "ended: " + c.Ended
		case c.On && c.Reader != nil && !*c.Reader:
			state = "on, no reader"
		case c.On:
			state = "on"
		}
		row(w, c.Port, c.File, state, c.Frames, c.Missed, c.SnapLen, dash(c.Filter))
	}
}
