package netfwd

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	virtionet "vvufwd/virtio/net"
)

// Rates prints, of statistics that come one after the other, what has happened per second since those before: a line for each port,
// all of them rates, drops included. It belongs to one goroutine. The zero value is ready for the first statistics.
type Rates struct {
	before []PortStats
	at     time.Time
	some   bool // there were statistics before

	names  []string // for which the header was
	widest int      // of them
	lines  int      // since the header
}

// rateLines is how many lines go with one header, as with vmstat.
const rateLines = 20

// Write prints rates since the last call, which is nothing at first. The header comes when the ports are others, and after some lines.
func (r *Rates) Write(w io.Writer, now Stats) error {
	before, at, some := r.before, r.at, r.some
	r.before, r.at, r.some = now.Ports, now.Time, true
	seconds := now.Time.Sub(at).Seconds()
	if !some || seconds <= 0 {
		return nil
	}
	var out bytes.Buffer
	if r.due(now.Ports) {
		fmt.Fprintf(&out, "%*s  %10s  %10s  %10s  %10s  drops/s\n", r.widest, "port", "rx pps", "rx Mbit/s", "tx pps", "tx Mbit/s")
	}
	olds := make(map[string]PortStats, len(before))
	for _, p := range before {
		olds[p.Name] = p
	}
	for _, p := range now.Ports {
		old := olds[p.Name] // nothing, of a queue pair that had nothing to do before
		rate := func(now, then uint64) float64 { return float64(now-then) / seconds }
		fmt.Fprintf(&out, "%*s  %10.0f  %10.2f  %10.0f  %10.2f  %s\n", r.widest, p.Name,
			rate(p.RxPackets, old.RxPackets), rate(p.RxBytes, old.RxBytes)*8/1e6,
			rate(p.TxPackets, old.TxPackets), rate(p.TxBytes, old.TxBytes)*8/1e6,
			listDrops(func(why string) string {
				n := p.Drops[why] - old.Drops[why]
				if n == 0 {
					return ""
				}
				return shortRate(float64(n) / seconds)
			}))
	}
	r.lines += len(now.Ports)
	_, err := w.Write(out.Bytes()) // in one piece: what is read slowly is lost by records
	return err
}

// due reports whether a header is, and notes that it is written.
func (r *Rates) due(ports []PortStats) bool {
	same := slices.EqualFunc(ports, r.names, func(p PortStats, name string) bool { return p.Name == name })
	if same && r.names != nil && r.lines < rateLines {
		return false
	}
	r.names, r.lines, r.widest = []string{}, 0, len("port")
	for _, p := range ports {
		r.names = append(r.names, p.Name)
		r.widest = max(r.widest, len(p.Name))
	}
	return true
}

// shortRate has no more digits than are of interest, and does not show as nothing what is something.
func shortRate(v float64) string {
	if v >= 10 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// dropList names the reasons in their fixed order: "no_peer=3 runt=1".
func dropList(drops map[string]uint64) string {
	return listDrops(func(why string) string {
		if n := drops[why]; n > 0 {
			return strconv.FormatUint(n, 10)
		}
		return ""
	})
}

// listDrops names reasons with what there is to say of them.
func listDrops(say func(why string) string) string {
	var out []byte
	for why := range virtionet.NumDrops {
		if text := say(why.String()); text != "" {
			if out != nil {
				out = append(out, ' ')
			}
			out = append(append(append(out, why.String()...), '='), text...)
		}
	}
	if out == nil {
		return "-"
	}
	return string(out)
}
