package show

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"vvufwd/cmd/vvudemo/matrix"
)

// MatrixReport is what RunMatrix showed.
type MatrixReport struct {
	OK            bool        `json:"ok"`
	Seconds       float64     `json:"seconds"`
	DriverQEMU    string      `json:"driver_qemu"`
	AppQEMU       string      `json:"app_qemu"`
	Kernels       []string    `json:"kernels"` // of the app VMs; the driver VM has the first
	TransferBytes int64       `json:"transfer_bytes"`
	Rows          []MatrixRow `json:"rows"`
}

// MatrixRow is one combination.
type MatrixRow struct {
	matrix.Combination
	Name     string    `json:"name"`
	Kernel   string    `json:"kernel"`
	OK       bool      `json:"ok"`
	Error    string    `json:"error,omitempty"`
	Seconds  float64   `json:"seconds"`
	Features string    `json:"features,omitempty"` // that the guest negotiated
	Download *Transfer `json:"download,omitempty"`
	Upload   *Transfer `json:"upload,omitempty"`
	// FromQueues and ToQueues are the frames at each of the app VM's queue pairs while pings were sent from each of its processors.
	FromQueues []uint64 `json:"from_queues,omitempty"`
	ToQueues   []uint64 `json:"to_queues,omitempty"`
	// PlainFrom and PlainTo are how many of a hundred frames from the app VM and to it were plain, of those that vvufwd did not have to
	// cut into segments.
	PlainFrom float64 `json:"plain_percent_from"`
	PlainTo   float64 `json:"plain_percent_to"`
}

// mtu is the app VM's, in bytes.
func (r *MatrixRow) mtu() int {
	if r.Jumbo {
		return matrix.JumboMTU
	}
	return defaultMTU
}

// WriteTable writes the report for a person.
func (r *MatrixReport) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "\nkernels %s; driver VM on QEMU %s; app VM on QEMU %s; %s each way\n\n", strings.Join(r.Kernels, " and "), r.DriverQEMU, r.AppQEMU, size(r.TransferBytes))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COMBINATION\tKERNEL\tRESULT\tSECONDS\tMBIT/S TO\tFROM\tPLAIN % TO\tFROM\tFRAMES FROM QUEUES\tTO QUEUES")
	for _, row := range r.Rows {
		kernel := strings.Join(strings.SplitN(row.Kernel, ".", 3)[:2], ".")
		if !row.OK {
			first, _, _ := strings.Cut(row.Error, "\n")
			fmt.Fprintf(t, "%s\t%s\tFAILED\t%.1f\t%.60s\n", row.Name, kernel, row.Seconds, first)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\tok\t%.1f\t%.0f\t%.0f\t%.1f\t%.1f\t%s\t%s\n", row.Name, kernel, row.Seconds, row.Download.MbitPerSecond(), row.Upload.MbitPerSecond(),
			row.PlainTo, row.PlainFrom, joined(row.FromQueues), joined(row.ToQueues))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	good := 0
	for _, row := range r.Rows {
		if row.OK {
			good++
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d shown in %.0f s\n", good, len(r.Rows), r.Seconds)
	return err
}

// joined writes numbers with a blank between them.
func joined(numbers []uint64) string { return strings.Trim(fmt.Sprint(numbers), "[]") }
