package cli

import (
	"errors"
	"flag"
	"io"
)

// Output is a writer that remembers whether what it was given could be written, for programs that are run for what they print.
// It is owned by one goroutine at a time.
type Output struct {
	io.Writer

	err error
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Or returns err, unless it is none, or flag.ErrHelp, and something could not be written: then that.
func (o *Output) Or(err error) error {
	if o.err != nil && (err == nil || errors.Is(err, flag.ErrHelp)) {
		return o.err
	}
	return err
}
