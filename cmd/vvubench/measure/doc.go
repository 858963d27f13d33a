// Package measure runs the cases of a benchmark: each with both peers, one after
// the other, in several rounds.
package measure
