// Package e2e evaluates and builds nix/ with Debian's Nix, against the stub of nixpkgs in nix/stub, and boots the result. What that proves
// and what not: "vvufwd help nix".
package e2e
