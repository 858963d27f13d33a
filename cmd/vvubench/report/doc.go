// Package report holds what a benchmark has measured, sums it up and shows it: a
// table for people, JSON with every sample for programs.
package report
