package rates

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// series is one line of the plot: how fast frames of each size arrive in one direction under one load.
type series struct {
	name   string
	colour string
	dashed bool // of another report
	points []point
}

type point struct {
	bytes, rate float64
	mixed       bool
}

// colours are those of lines, by load and way; they differ for the colour-blind, too.
var colours = map[string]string{"out": "#0072b2", "in": "#d55e00", "both, out": "#56b4e9", "both, in": "#e69f00"}

// series are the lines of a report.
func (r *Report) series(dashed bool) (all []series) {
	for _, s := range []struct {
		name string
		load Load
		way  func(Row) *Way
	}{
		{"out", Out, func(r Row) *Way { return r.Out }}, {"in", In, func(r Row) *Way { return r.In }},
		{"both, out", Both, func(r Row) *Way { return r.Out }}, {"both, in", Both, func(r Row) *Way { return r.In }},
	} {
		line := series{name: fmt.Sprintf("%s (%s)", s.name, r.Setup.Name), colour: colours[s.name], dashed: dashed}
		for _, row := range r.Rows {
			if y := s.way(row); row.Load == s.load && y != nil {
				line.points = append(line.points, point{row.Bytes, y.ArrivedRate, row.Sizes == "imix"})
			}
		}
		if line.points != nil {
			all = append(all, line)
		}
	}
	return all
}

// The plot's places, in pixels.
const (
	plotWidth, plotHeight = 860, 540
	left, right           = 80, 30
	top, bottom           = 50, 60
	legendLine            = 18
	gridLines             = 5 // at least, of the vertical axis
	gridBytes             = 250
)

// WritePlot writes the rates over the sizes as SVG, with those of other reports in dashed lines.
func (t Table) WritePlot(w io.Writer) error {
	lines := t.series(false)
	for _, other := range t.Beside {
		lines = append(lines, other.series(true)...)
	}
	var mostBytes, mostRate float64
	for _, s := range lines {
		for _, p := range s.points {
			mostBytes, mostRate = max(mostBytes, p.bytes), max(mostRate, p.rate)
		}
	}
	step := gridStep(mostRate / gridLines)
	mostRate = max(step, math.Ceil(mostRate/step)*step)
	mostBytes = max(gridBytes, mostBytes)
	x := func(bytes float64) float64 { return left + bytes/mostBytes*(plotWidth-left-right) }
	y := func(rate float64) float64 { return plotHeight - bottom - rate/mostRate*(plotHeight-top-bottom) }

	height := plotHeight + legendLine*(len(lines)+1)/2 + legendLine
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	text := func(x, y float64, anchor, format string, args ...any) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(fmt.Sprintf(format, args...)))
	}
	line := func(x1, y1, x2, y2 float64, colour string) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
	}
	text(plotWidth/2, top/2, "middle", "Frames a second that arrive, by size: %s", t.Setup.Name)
	for rate := 0.0; rate <= mostRate+step/2; rate += step {
		line(left, y(rate), plotWidth-right, y(rate), "#dddddd")
		text(left-8, y(rate)+4, "end", "%.0f", rate)
	}
	for bytes := 0.0; bytes <= mostBytes; bytes += gridBytes {
		line(x(bytes), plotHeight-bottom, x(bytes), plotHeight-bottom+5, "black")
		text(x(bytes), plotHeight-bottom+20, "middle", "%.0f", bytes)
	}
	line(left, plotHeight-bottom, plotWidth-right, plotHeight-bottom, "black")
	line(left, top, left, plotHeight-bottom, "black")
	text(plotWidth/2, plotHeight-bottom+42, "middle", "bytes a frame, without FCS (a square is IMIX, at its mean)")
	for i, s := range lines {
		dash := ""
		if s.dashed {
			dash = ` stroke-dasharray="6 4"`
		}
		var places []string
		for _, p := range s.points {
			if p.mixed {
				fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="8" height="8" fill="none" stroke="%s"/>`+"\n", x(p.bytes)-4, y(p.rate)-4, s.colour)
				continue
			}
			places = append(places, fmt.Sprintf("%.1f,%.1f", x(p.bytes), y(p.rate)))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, %.0f bytes: %.0f/s</title></circle>`+"\n", x(p.bytes), y(p.rate), s.colour, html.EscapeString(s.name), p.bytes, p.rate)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(places, " "), s.colour, dash)
		lx, ly := float64(left+i%2*(plotWidth-left)/2), float64(plotHeight+legendLine*(i/2))
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2"%s/>`+"\n", lx, ly, lx+30, ly, s.colour, dash)
		text(lx+36, ly+4, "start", "%s", s.name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// gridStep is the next larger one of 1, 2 and 5 times a power of ten.
func gridStep(least float64) float64 {
	if least <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}
