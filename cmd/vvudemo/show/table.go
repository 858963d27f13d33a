package show

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"vvufwd/cmd/vvudemo/capture"
)

// WriteTable writes the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintln(w)
	if r.DriverQEMU != "" {
		fmt.Fprintf(w, "driver VM on QEMU %s, kernel %s, IOMMU %s; ", r.DriverQEMU, r.DriverKernel, r.IOMMU)
	}
	fmt.Fprintf(w, "app VM on QEMU %s, kernel %s; virtio-vhost-user device: %s\n\n", r.AppQEMU, r.Kernel, r.Device)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STEP\tRESULT\tSECONDS\tFIGURE")
	for _, s := range r.Steps {
		result, figure := "ok", s.Figure
		if !s.OK {
			result = "FAILED"
			figure, _, _ = strings.Cut(s.Error, "\n")
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f\t%s\n", s.Name, result, s.Seconds, figure)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := r.writePorts(w); err != nil {
		return err
	}
	if err := r.writeCapture(w); err != nil {
		return err
	}
	verdict := "all shown"
	if !r.OK {
		verdict = "FAILED"
	}
	_, err := fmt.Fprintf(w, "\n%s in %.1f s\n", verdict, r.Seconds)
	return err
}

// writePorts writes what vvufwd counted.
func (r *Report) writePorts(w io.Writer) error {
	if len(r.Ports) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "PORT\tRX FRAMES\tRX BYTES\tTX FRAMES\tTX BYTES\tDROPS\t")
	for _, p := range r.Ports {
		var drops []string
		for _, reason := range slices.Sorted(maps.Keys(p.Drops)) {
			drops = append(drops, fmt.Sprintf("%s %d", reason, p.Drops[reason]))
		}
		if drops == nil {
			drops = []string{"-"}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t\n", p.Name, p.RxPackets, p.RxBytes, p.TxPackets, p.TxBytes, strings.Join(drops, ", "))
	}
	return t.Flush()
}

// writeCapture writes what the capture of the NIC side holds.
func (r *Report) writeCapture(w io.Writer) error {
	if r.Capture == nil {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "NIC SIDE\tFRAMES FROM APP VM\tBYTES\tFRAMES TO APP VM\tBYTES\t")
	row := func(name string, b capture.Both) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t\n", name, b.FromApp.Frames, b.FromApp.Bytes, b.ToApp.Frames, b.ToApp.Bytes)
	}
	for _, kind := range capture.Kinds {
		if b := r.Capture.Kind(kind); b != (capture.Both{}) {
			row(kind, b)
		}
	}
	row("all", r.Capture.Total)
	return t.Flush()
}
