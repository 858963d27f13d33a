// Package counters reads the statistics that vvufwd prints among other lines.
package counters
