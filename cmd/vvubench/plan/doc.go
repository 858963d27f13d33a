// Package plan says which cases a benchmark consists of.
package plan
