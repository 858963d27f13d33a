package main

import (
	"slices"
	"strings"

	"vvufwd/cmd/internal/channel"
)

// words are arguments of vvufwd.
type words []string

// flagName is the name of the flag that a word is, and its value if it has one.
func flagName(word string) (name, value string, hasValue bool) {
	if !strings.HasPrefix(word, "-") {
		return "", "", false
	}
	name, value, hasValue = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	return name, value, hasValue
}

// has reports whether a flag is set.
func (w words) has(flag string) bool {
	return slices.ContainsFunc(w, func(word string) bool {
		name, value, _ := flagName(word)
		return name == flag && value != "false"
	})
}

// values are those of a flag.
func (w words) values(flag string) []string {
	var values []string
	for i, word := range w {
		name, value, hasValue := flagName(word)
		switch {
		case name != flag:
		case hasValue:
			values = append(values, value)
		case i+1 < len(w):
			values = append(values, w[i+1])
		}
	}
	return values
}

// interfaces are the kinds of ports among the arguments that are over the kernel's interfaces: "packet", "xdp", "tap", "macvtap", and
// "nic" for what is named as a NIC and is an interface.
func (w words) interfaces() []string {
	var kinds []string
	for _, p := range w.ports() {
		if !p.onPCI() {
			kinds = append(kinds, p.kind)
		}
	}
	return kinds
}

// channels are where vvufwd is told to answer and to send captures by something that the machine has to have: the names of
// virtio-serial ports, and whether there is a port of vsock among them.
func (w words) channels() (serial []string, vsock bool) {
	places := w.values("control")
	for _, value := range w.values("capture") {
		_, place, _ := strings.Cut(value, "=")
		places = append(places, place)
	}
	for _, place := range places {
		place, _, _ = strings.Cut(place, ",")
		a, err := channel.Parse(place)
		switch {
		case err != nil: // vvufwd says so
		case a.Kind == channel.Serial && !slices.Contains(serial, a.Name):
			serial = append(serial, a.Name)
		case a.Kind == channel.VSock:
			vsock = true
		}
	}
	return serial, vsock
}
