package upkeep

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/beside"
)

// Upkeep is vvufwd's side of the process. It is owned by one goroutine.
type Upkeep struct {
	line *os.File // is closed when vvufwd ends, however it does
}

var role = beside.Role{Name: "upkeep", Environment: "VVUFWD_UPKEEP"}

const lineName = "upkeep of interfaces"

// Interface is one that is set up.
type Interface struct {
	Name string
	MTU  int // bytes; 0: what it has
}

// Start starts the process for these interfaces, whose main must call Run if IsUpkeep says so.
// With confine it gives up what it does not need.
func Start(all []Interface, confine bool) (*Upkeep, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the upkeep of interfaces: %w", err)
	}
	defer ours.Close()
	p, err := role.Start(encode(all, confine), []*os.File{ours})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the upkeep of interfaces: %w", err), theirs.Close())
	}
	return &Upkeep{line: theirs}, p.Release()
}

// Hand adds it to the files that this process hands over to the one that it becomes, see
// confine.Policy.Start.
func (u *Upkeep) Hand(files map[string]*os.File) {
	if u != nil {
		files[lineName] = u.line
	}
}

// Inherit is that of the process that this one was, nil if that had none.
func Inherit() *Upkeep {
	if f := confine.Inherited(lineName); f != nil {
		return &Upkeep{line: f}
	}
	return nil
}

// Close ends the process.
func (u *Upkeep) Close() error {
	if u == nil {
		return nil
	}
	return u.line.Close()
}

// IsUpkeep reports whether this process was started to be one.
func IsUpkeep() bool { return role.Is() }

// encode writes what Start was told; decode reads it. No name has a slash.
func encode(all []Interface, confine bool) string {
	words := []string{strconv.FormatBool(confine)}
	for _, i := range all {
		words = append(words, fmt.Sprintf("%s/%d", i.Name, i.MTU))
	}
	return strings.Join(words, ",")
}

func decode(text string) (all []Interface, confine bool) {
	words := strings.Split(text, ",")
	for _, word := range words[1:] {
		name, mtu, _ := strings.Cut(word, "/")
		n, _ := strconv.Atoi(mtu)
		all = append(all, Interface{name, n})
	}
	return all, words[0] == "true"
}

// interfaces are those looked after, with the index that each had last, 0 if it was not there.
type interfaces struct {
	all   []Interface
	index map[string]int32
	// ask is the index of an interface, and setUp sets it up.
	ask   func(name string) (int32, error)
	setUp func(Interface) error
}

// look sets those up that are others than before. What cannot be told or done now is tried again
// the next time.
func (i *interfaces) look() error {
	var errs []error
	for _, one := range i.all {
		name := one.Name
		index, err := i.ask(name)
		switch {
		case errors.Is(err, unix.ENODEV):
			i.index[name] = 0
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("interface %s: %w", name, err))
			continue
		case index == i.index[name]:
			continue
		}
		if err := i.setUp(one); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("interface %s: set it up: %w", name, err))
			continue
		}
		i.index[name] = index
	}
	return errors.Join(errs...)
}
