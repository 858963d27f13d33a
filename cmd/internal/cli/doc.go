// Package cli is what the commands of this module have in common on the outside:
// exit codes, mistakes in usage, and what --version prints.
package cli
