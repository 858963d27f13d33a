// Package measure judges the order of numbered frames and sums up how long they took.
package measure
