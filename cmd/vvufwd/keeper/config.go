package keeper

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// Config is what a keeper is for.
type Config struct {
	Functions []pci.Address // at least one
	Shared    vfio.Shared   // address spaces that the functions join
	Held      vfio.Held     // what is held in case vvufwd is killed
	Bindings  []pci.Binding // what was done to functions to get them: the keeper undoes it, see TakeOver and GiveBack
	Bind      bool          // functions that are new are bound to vfio-pci
	Confine   bool          // the keeper gives up what it does not need
}

// encode writes what a keeper has to know into its environment. A driver's name and an override may have blanks.
func (c Config) encode() string {
	words := []string{
		fmt.Sprintf("bind=%t", c.Bind), fmt.Sprintf("confine=%t", c.Confine), fmt.Sprintf("iommufd=%t", c.Shared.IOMMUFD),
		fmt.Sprintf("container=%d", c.Shared.Container), fmt.Sprintf("bare=%d", c.Shared.Bare), fmt.Sprintf("memory=%d", c.Held.Memory),
	}
	for f, fd := range c.Held.Devices {
		words = append(words, fmt.Sprintf("held=%d,%v", fd, f))
	}
	for _, b := range c.Bindings {
		if b.Changed {
			words = append(words, fmt.Sprintf("bound=%v,%s,%s", b.Function, url.QueryEscape(b.Driver), url.QueryEscape(b.Override)))
		}
	}
	for _, f := range c.Functions {
		words = append(words, f.String())
	}
	return strings.Join(words, " ")
}

func decode(text string) (c Config, err error) {
	c.Held.Devices = map[pci.Address]int{}
	for _, word := range strings.Fields(text) {
		name, value, isSetting := strings.Cut(word, "=")
		if !isSetting {
			f, err := pci.ParseAddress(word)
			if err != nil {
				return c, err
			}
			c.Functions = append(c.Functions, f)
			continue
		}
		switch name {
		case "bind":
			c.Bind, err = strconv.ParseBool(value)
		case "confine":
			c.Confine, err = strconv.ParseBool(value)
		case "iommufd":
			c.Shared.IOMMUFD, err = strconv.ParseBool(value)
		case "container":
			c.Shared.Container, err = strconv.Atoi(value)
		case "bare":
			c.Shared.Bare, err = strconv.Atoi(value)
		case "memory":
			c.Held.Memory, err = strconv.Atoi(value)
		case "held":
			number, name, _ := strings.Cut(value, ",")
			var f pci.Address
			if f, err = pci.ParseAddress(name); err == nil {
				c.Held.Devices[f], err = strconv.Atoi(number)
			}
		case "bound":
			part := append(strings.SplitN(value, ",", 3), "", "")
			b := pci.Binding{Changed: true}
			var bad [3]error
			b.Function, bad[0] = pci.ParseAddress(part[0])
			b.Driver, bad[1] = url.QueryUnescape(part[1])
			b.Override, bad[2] = url.QueryUnescape(part[2])
			err = errors.Join(bad[:]...)
			c.Bindings = append(c.Bindings, b)
		default:
			err = fmt.Errorf("keeper: unknown setting %q", word)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
