package cli

import (
	"errors"
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

// IsUsage reports whether err is, or wraps, a UsageError.
func IsUsage(err error) bool {
	var usage *UsageError
	return errors.As(err, &usage)
}
