// Package report shows what a traffic run measured: a table for people, JSON for
// programs, and a line each second while it lasts.
package report
