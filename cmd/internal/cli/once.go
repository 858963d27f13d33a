package cli

import (
	"errors"
	"flag"
)

// Once has flags refused that are given a second time.
//
// Of a flag that is given twice package flag keeps the last value. That is what scripts and variables such as make's DEMOFLAGS count
// on, which override what stands before them, so it stays so for switches and settings: how many, how long, at which level. It is no
// good where two of them could both be meant, and the first would be forgotten without a word: for the names of what is opened,
// served, asked or written, for lists and for words that one could take to be added up. These are for Once. Flags that gather what
// they are given need nothing.
func Once(f *flag.FlagSet, names ...string) {
	for _, name := range names {
		one := f.Lookup(name)
		one.Value = &once{Value: one.Value}
	}
}

// once is the value of a flag that is given once.
type once struct {
	flag.Value
	given string
	set   bool
}

// Set implements flag.Value.
func (o *once) Set(text string) error {
	if o.set {
		return errors.New("it is given twice, first as " + o.given)
	}
	o.given, o.set = text, true
	return o.Value.Set(text)
}
