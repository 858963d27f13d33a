package tools

import (
	"context"
	"slices"
)

// nixRelease is the Debian release whose Nix is used: bookworm's is older than what nixpkgs takes today.
const nixRelease = "trixie"

// DebianNix unpacks Nix and returns how one of its commands is begun, "nix-build" for one. Of the options only BuildDir and Progress are
// looked at. What an earlier call unpacked is used as it is.
//
// Nix has to be told to start no build hook (--option build-hook ""): it would start itself again, and finds the loader in its place.
func DebianNix(ctx context.Context, o Options) (begin func(command string) []string, err error) {
	dir, err := unpackedClosure(ctx, o, "nix", nixRelease, "Nix", "nix-bin")
	if err != nil {
		return nil, err
	}
	return func(command string) []string {
		words := unpackedCommand(dir, "nix")
		return slices.Concat(words[:1], []string{"--argv0", command}, words[1:])
	}, nil
}
