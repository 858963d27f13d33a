package cli

import (
	"errors"
	"flag"
	"fmt"
)

// UsageError is a mistake on the command line, for which a command exits with
// Misused.
type UsageError struct{ err error }

// Usagef makes a UsageError as fmt.Errorf makes an error, %w included. The text
// names the flag and says what would be right.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Error implements error.
func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap gives what %w named.
func (e *UsageError) Unwrap() error { return errors.Unwrap(e.err) }

// UnusableError is the error of a device, a socket or a file that was named and cannot be
// used, for which a command exits with Unusable.
type UnusableError struct{ Err error }

// Unusablef makes an UnusableError as fmt.Errorf makes an error, %w included.
func Unusablef(format string, args ...any) error {
	return &UnusableError{fmt.Errorf(format, args...)}
}

// Error implements error.
func (e *UnusableError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *UnusableError) Unwrap() error { return e.Err }

// ExitCode is the exit code for an error that knows of no more than this package does.
func ExitCode(err error) int {
	_, unusable := errors.AsType[*UnusableError](err)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return Done
	case IsUsage(err):
		return Misused
	case unusable:
		return Unusable
	}
	return Failed
}

// IsUsage reports whether err is, or wraps, a UsageError.
func IsUsage(err error) bool {
	var usage *UsageError
	return errors.As(err, &usage)
}
