package tools

import "context"

// DebianReader unpacks a program that reads captures, of the package of the same name, and returns how it is run. Of the options only
// BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func DebianReader(ctx context.Context, o Options, name string) ([]string, error) {
	dir, err := unpackedClosure(ctx, o, name, guestRelease.suite, name, name)
	if err != nil {
		return nil, err
	}
	return unpackedCommand(dir, name), nil
}
