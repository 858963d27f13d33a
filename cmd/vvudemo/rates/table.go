package rates

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table is a report with others to compare it with.
type Table struct {
	*Report
	Beside []*Report
}

// WriteTable writes it for a person.
func (t Table) WriteTable(w io.Writer) error {
	s := &t.Setup
	fmt.Fprintln(w)
	if s.DriverQEMU != "" {
		fmt.Fprintf(w, "driver VM on QEMU %s, kernel %s, IOMMU %s, NIC %s; ", s.DriverQEMU, s.DriverKernel, s.IOMMU, s.NIC)
	}
	fmt.Fprintf(w, "app VM on QEMU %s, kernel %s; virtio-vhost-user device: %s; %.3g s each\n\n", s.AppQEMU, s.Kernel, s.Device, s.Time)
	if err := t.writeRates(w); err != nil {
		return err
	}
	if err := t.writeDelays(w); err != nil {
		return err
	}
	if err := t.writeBeside(w); err != nil {
		return err
	}
	return t.writeLosses(w)
}

// ways are the directions of a row that frames went, with what a person calls them.
func (r *Row) ways() (names []string, ways []*Way) {
	if r.Out != nil {
		names, ways = append(names, "app VM to NIC"), append(ways, r.Out)
	}
	if r.In != nil {
		names, ways = append(names, "NIC to app VM"), append(ways, r.In)
	}
	return names, ways
}

func (t Table) writeRates(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "BYTES\tLOAD\tWAY\tOFFERED/s\tARRIVED/s\tMbit/s\tOFFERED\tARRIVED\tLOST\tREORDERED\t")
	for _, row := range t.Rows {
		if row.Load == Light {
			continue
		}
		names, ways := row.ways()
		for i, y := range ways {
			fmt.Fprintf(tab, "%s\t%s\t%s\t%.0f\t%.0f\t%.1f\t%d\t%d\t%d\t%d\t\n", row.Sizes, row.Load, names[i], y.OfferedRate, y.ArrivedRate,
				y.Mbit(row.Bytes), y.Offered, y.Arrived, y.Lost, y.Reordered)
		}
	}
	return tab.Flush()
}

func (t Table) writeDelays(w io.Writer) error {
	fmt.Fprintf(w, "\nDelays above the least in microseconds, both ways at %.0f %% of what arrived at full load; the least round trip is that of the fastest frames:\n\n", 100*LightShare)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "BYTES\tWAY\tRATE/s\tLOST\tREORDERED\tP50\tP90\tP99\tMOST\tLEAST ROUND TRIP\t")
	for _, row := range t.Rows {
		if row.Load != Light {
			continue
		}
		names, ways := row.ways()
		for i, y := range ways {
			d := y.Delay
			fmt.Fprintf(tab, "%s\t%s\t%.0f\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", row.Sizes, names[i], y.OfferedRate, y.Lost, y.Reordered, d.P50, d.P90, d.P99, d.Most, row.RoundTrip)
		}
	}
	return tab.Flush()
}

// writeBeside writes what other reports have in the same rows, and the ratios.
func (t Table) writeBeside(w io.Writer) error {
	for _, other := range t.Beside {
		fmt.Fprintf(w, "\nArriving frames a second beside %q:\n\n", other.Setup.Name)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tab, "BYTES\tLOAD\tWAY\tHERE\tTHERE\tRATIO\tLOST HERE\tLOST THERE\t")
		for _, row := range t.Rows {
			old := other.Row(row.Sizes, row.Load)
			if row.Load == Light || old == nil {
				continue
			}
			names, ways := row.ways()
			oldNames, oldWays := old.ways()
			for i, y := range ways {
				at := slices.Index(oldNames, names[i])
				if at < 0 || oldWays[at].ArrivedRate == 0 {
					continue
				}
				o := oldWays[at]
				fmt.Fprintf(tab, "%s\t%s\t%s\t%.0f\t%.0f\t%.2f\t%d\t%d\t\n", row.Sizes, row.Load, names[i], y.ArrivedRate, o.ArrivedRate, y.ArrivedRate/o.ArrivedRate, y.Lost, o.Lost)
			}
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// writeLosses says where frames were lost.
func (t Table) writeLosses(w io.Writer) error {
	fmt.Fprintln(w)
	none := true
	for _, row := range t.Rows {
		names, ways := row.ways()
		for i, y := range ways {
			if y.Lost == 0 {
				continue
			}
			none = false
			if _, err := fmt.Fprintf(w, "lost of %s bytes, %s, %s: %s\n", row.Sizes, row.Load, names[i], strings.Join(y.losses(), "; ")); err != nil {
				return err
			}
		}
	}
	if none {
		_, err := fmt.Fprintln(w, "No frame was lost on the way.")
		return err
	}
	return nil
}

// losses names the places before which frames are missing.
func (y *Way) losses() (texts []string) {
	for i, s := range y.Stages {
		if s.Lost == 0 && len(s.Drops) == 0 {
			continue
		}
		text := fmt.Sprintf("%d did not reach %q", s.Lost, s.Name)
		if i == 0 {
			text = s.Name
		}
		var drops []string
		for _, why := range slices.Sorted(maps.Keys(s.Drops)) {
			drops = append(drops, fmt.Sprintf("%s %d", why, s.Drops[why]))
		}
		if drops != nil {
			text += ", which dropped " + strings.Join(drops, ", ")
		}
		texts = append(texts, text)
	}
	if texts == nil {
		texts = []string{fmt.Sprintf("%d, no stage says where", y.Lost)}
	}
	return texts
}
