package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxRequest is how many bytes a request has at most, its newline included.
const MaxRequest = 4096

// maxID is how many bytes the id of a request has at most.
const maxID = 64

// What can be asked for.
const (
	Ports    = "ports"
	Stats    = "stats"
	Links    = "links"
	Switch   = "switch"
	Captures = "capture"
	LogLevel = "log-level"
	Version  = "version"
	Metrics  = "metrics"
)

// Words are all of them.
var Words = []string{Ports, Stats, Links, Switch, Captures, LogLevel, Version, Metrics}

// What a capture is set to.
const (
	On  = "on"
	Off = "off"
)

// Levels are what a log's is set to.
var Levels = []string{"debug", "info", "warn", "error"}

// Request is what a client wants.
type Request struct {
	ID   string `json:"id,omitempty"` // the answer has it, too
	Do   string `json:"do"`           // one of Words
	Set  string `json:"set,omitempty"`
	Port string `json:"port,omitempty"` // of a capture to set; empty: of all
}

// Writes reports whether the request changes something.
func (r Request) Writes() bool { return r.Set != "" }

// ParseRequest reads a request. The error says what is wrong with it.
func ParseRequest(line []byte) (r Request, err error) {
	if len(line) > MaxRequest {
		return r, fmt.Errorf("a request has at most %d bytes", MaxRequest)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, fmt.Errorf(`not a request such as {"do":"version"}: %w`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Request{}, errors.New("one request a line")
	}
	if len(r.ID) > maxID {
		return Request{}, fmt.Errorf("an id has at most %d bytes", maxID)
	}
	if !slices.Contains(Words, r.Do) {
		return Request{ID: r.ID}, fmt.Errorf("there is no %q, want one of %s", r.Do, strings.Join(Words, ", "))
	}
	return r, r.check()
}

// check finds what does not go together.
func (r Request) check() error {
	switch {
	case r.Set != "" && r.Do != Captures && r.Do != LogLevel:
		return fmt.Errorf("%s cannot be set", r.Do)
	case r.Port != "" && (r.Do != Captures || r.Set == ""):
		return errors.New("a port is for setting a capture")
	case r.Do == Captures && r.Set != "" && r.Set != On && r.Set != Off:
		return fmt.Errorf("a capture is set to %s or %s, not %q", On, Off, r.Set)
	}
	return nil
}

// Answer is what a client gets.
type Answer struct {
	ID    string          `json:"id,omitempty"`
	Error string          `json:"error,omitempty"` // why there are no data
	Data  json.RawMessage `json:"data,omitempty"`
}

// answer makes the line for an answer.
func answer(id string, data any, err error) []byte {
	a := Answer{ID: id}
	if err == nil {
		a.Data, err = json.Marshal(data)
	}
	if err != nil {
		a.Data, a.Error = nil, err.Error()
	}
	line, err := json.Marshal(a)
	if err != nil {
		line = []byte(`{"error":"no answer"}`) // of strings and of what was marshalled before there is always one
	}
	return append(line, '\n')
}
