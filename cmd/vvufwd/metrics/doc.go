// Package metrics writes what vvufwd counts in the text format of Prometheus, and serves it to a scraper.
//
// Names and units follow Prometheus' conventions: counters since the start end in _total, sizes are in bytes and times in seconds. What
// can be counted is there from the start, with 0: a rate of drops is of no use if its series begins with the first drop.
package metrics
