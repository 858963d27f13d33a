package rates

import (
	"encoding/json"
	"errors"
	"os"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/pktgen"
)

// Report is the outcome of a run.
type Report struct {
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`

	Setup Setup `json:"setup"`
	Rows  []Row `json:"rows"`
}

// Setup is what was measured.
type Setup struct {
	Name         string  `json:"name"`   // what the others call it: the forwarder and the device
	Device       string  `json:"device"` // "vvudev", "built into QEMU" or "none"
	DriverQEMU   string  `json:"driver_qemu,omitempty"`
	DriverKernel string  `json:"driver_kernel,omitempty"`
	IOMMU        string  `json:"iommu,omitempty"`
	NIC          string  `json:"nic,omitempty"`
	AppQEMU      string  `json:"app_qemu"`
	Kernel       string  `json:"kernel"`
	Time         float64 `json:"seconds_each"` // that frames were sent
}

// Load is which frames are sent at the same time.
type Load string

// Loads, in the order in which they are measured.
const (
	Out   Load = "out"   // the app VM sends as fast as it can
	In    Load = "in"    // frames for the app VM are sent as fast as the TAP device takes them
	Both  Load = "both"  // at once
	Light Load = "light" // both, at a tenth of the rates that arrived then: for delays
)

// Loads are all.
var Loads = []Load{Out, In, Both, Light}

// LightShare is the share of what arrived with Both that Light sends.
const LightShare = 0.1

// Row is one measurement.
type Row struct {
	Sizes string  `json:"sizes"` // bytes without FCS, or "imix"
	Bytes float64 `json:"bytes"` // mean
	Load  Load    `json:"load"`
	// Out is the way from the app VM's packet generator to the TAP device behind the driver VM's NIC, and In the other one.
	Out *Way `json:"out,omitempty"`
	In  *Way `json:"in,omitempty"`
	// RoundTrip is the fastest way out and the fastest way back together, in microseconds; 0: it is not known.
	RoundTrip float64 `json:"least_round_trip_us,omitempty"`
}

// Way is what became of the frames of one direction.
type Way struct {
	Offered     uint64  `json:"offered"` // frames that the generator sent
	OfferedRate float64 `json:"offered_pps"`
	Refused     uint64  `json:"refused"` // tries of the generator that found a full queue
	Arrived     uint64  `json:"arrived"`
	ArrivedRate float64 `json:"arrived_pps"`
	Lost        uint64  `json:"lost"`
	Reordered   uint64  `json:"reordered"`
	Duplicated  uint64  `json:"duplicated"`
	// Judged is how many frames the receiver looked at for that, if not all that arrived.
	Judged uint64       `json:"judged"`
	Delay  pktgen.Delay `json:"delay_us"` // above the least, whose own value is by two clocks
	Stages []Stage      `json:"stages"`
}

// Mbit is the rate of arriving frames of that many bytes in Mbit/s, without FCS, preamble and gap.
func (w *Way) Mbit(bytes float64) float64 { return w.ArrivedRate * bytes * 8 / 1e6 }

// Stage is a place that frames pass, with what was counted there.
type Stage struct {
	Name   string `json:"name"`
	Frames uint64 `json:"frames"` // that came so far
	// Lost is how many fewer that is than at the place before.
	Lost  uint64            `json:"lost"`
	Drops map[string]uint64 `json:"drops,omitempty"` // what the place itself says of frames that end there
}

// Fill sets what follows from the counts of stages.
func (w *Way) Fill() {
	for i := range w.Stages {
		w.Stages[i].Lost = 0
		if i > 0 && w.Stages[i].Frames < w.Stages[i-1].Frames {
			w.Stages[i].Lost = w.Stages[i-1].Frames - w.Stages[i].Frames
		}
	}
}

// Row finds a measurement, or returns nil.
func (r *Report) Row(sizes string, load Load) *Row {
	for i := range r.Rows {
		if r.Rows[i].Sizes == sizes && r.Rows[i].Load == load {
			return &r.Rows[i]
		}
	}
	return nil
}

// Save writes the report as JSON.
func (r *Report) Save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read reads a report that Save has written.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Unnamed(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if len(r.Rows) == 0 {
		return nil, errors.New("no measurement in it: name a file that vvudemo --pktgen has written")
	}
	return &r, nil
}
