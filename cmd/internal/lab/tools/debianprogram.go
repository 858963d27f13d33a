package tools

import "context"

// DebianProgram unpacks a program of the package of the same name, with all that it needs, and returns how it is run. Of the options
// only BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func DebianProgram(ctx context.Context, o Options, name string) ([]string, error) {
	dir, err := unpackedClosure(ctx, o, name, guestRelease.suite, name, name)
	if err != nil {
		return nil, err
	}
	return unpackedCommand(dir, name), nil
}
