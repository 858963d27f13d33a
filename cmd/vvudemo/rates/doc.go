// Package rates holds what packet generators at both ends of the two machines found out: how many frames of which
// size arrive, and where the others were lost. It writes that as a table, as JSON, and as a plot.
package rates
