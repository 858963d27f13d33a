package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"vvufwd/cmd/internal/control"
	"vvufwd/netfwd"
)

// show prints an answer for a person.
func show(r control.Request, data json.RawMessage, out io.Writer) error {
	switch r.Do {
	case control.Ports:
		return table(data, out, showPorts)
	case control.Stats:
		return read(data, func(s netfwd.Stats) error { return s.WriteTable(out) })
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

// table reads data and prints them in columns.
func table[T any](data json.RawMessage, out io.Writer, print func(io.Writer, T)) error {
	return read(data, func(v T) error {
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		print(t, v)
		return t.Flush()
	})
}

func showPorts(w io.Writer, list []control.Port) {
	fmt.Fprintln(w, "port\tkind\twith\tqueues\tof\toptions")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, p.Kind, p.With, p.Used, p.Pairs, portOptions(p))
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
	fmt.Fprintln(w, "port\tkind\tlink\treturns\twhy")
	for _, l := range list {
		up, returns := "down", "-"
		if l.Up {
			up = "up"
		}
		if l.Returns != nil {
			returns = strconv.FormatUint(*l.Returns, 10)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Kind, up, returns, dash(l.Why))
	}
}

func showSwitch(w io.Writer, b control.Bridge) {
	fmt.Fprintln(w, "port\tkind\tuplink\toptions")
	for _, p := range b.Ports {
		uplink := "-"
		if p.Uplink {
			uplink = "uplink"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, p.Kind, uplink, portOptions(p))
	}
	fmt.Fprintf(w, "\naddresses learned\t%d\naddresses given\t%d\nmoves\t%d\nnot learned\t%d\nfloods\t%d\n", b.Learned, b.Static, b.Moves, b.Refused, b.Floods)
}

func showCaptures(w io.Writer, list []control.Capture) {
	fmt.Fprintln(w, "port\tfile\tstate\tframes\tmissed\tsnaplen\tfilter")
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", c.Port, c.File, state, c.Frames, c.Missed, c.SnapLen, dash(c.Filter))
	}
}
