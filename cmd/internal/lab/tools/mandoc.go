package tools

import "context"

// DebianMandoc unpacks mandoc, which checks manual pages, and returns how it is run. Of the options only BuildDir and Progress are
// looked at. What an earlier call unpacked is used as it is.
func DebianMandoc(ctx context.Context, o Options) ([]string, error) {
	dir, err := unpackedClosure(ctx, o, "mandoc", guestRelease.suite, "mandoc", "mandoc")
	if err != nil {
		return nil, err
	}
	return unpackedCommand(dir, "mandoc"), nil
}
