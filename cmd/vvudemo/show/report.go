package show

import (
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/vvudemo/capture"
	"vvufwd/cmd/vvudemo/rates"
)

// Report is what the demo showed.
type Report struct {
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`

	DriverQEMU   string `json:"driver_qemu,omitempty"`
	DriverKernel string `json:"driver_kernel,omitempty"`
	IOMMU        string `json:"iommu,omitempty"` // of the driver VM: "intel", "virtio" or "none"
	AppQEMU      string `json:"app_qemu"`
	Kernel       string `json:"kernel"` // of the app VM
	Device       string `json:"device"` // "vvudev", with a shadow region or without, "built into QEMU" or "none"

	Sizes Sizes  `json:"sizes"`
	Steps []Step `json:"steps"`

	Offloads string          `json:"offloads,omitempty"` // negotiated by the app VM, or "none"
	Lease    *guest.Lease    `json:"lease,omitempty"`
	Pings    *guest.Pings    `json:"pings,omitempty"`
	Download *Transfer       `json:"download,omitempty"`
	Upload   *Transfer       `json:"upload,omitempty"`
	Pktgen   *Pktgen         `json:"pktgen,omitempty"`
	Rates    *rates.Report   `json:"rates,omitempty"`
	Idle     *Idle           `json:"idle,omitempty"`
	Restarts []Restart       `json:"restarts,omitempty"`
	Rebinds  []Rebind        `json:"rebinds,omitempty"`
	Ports    []counters.Port `json:"ports,omitempty"`
	Again    []Again         `json:"again,omitempty"`

	Capture *capture.Summary `json:"capture,omitempty"`
	// DriverCapture is what vvufwd has captured in the driver VM, between it and the app VM.
	DriverCapture *capture.Directions `json:"driver_capture,omitempty"`
}

// Sizes are in bytes.
type Sizes struct {
	Vvufwd      int64 `json:"vvufwd,omitempty"`
	DriverImage int64 `json:"driver_initramfs,omitempty"`
	AppImage    int64 `json:"app_initramfs"`
}

// Step is one thing that was shown.
type Step struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Figure  string  `json:"figure,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Transfer is a download whose content was compared at both ends.
type Transfer struct {
	Bytes   int64   `json:"bytes"`
	SHA256  string  `json:"sha256"`
	Seconds float64 `json:"seconds"`
}

// MbitPerSecond is the rate.
func (t Transfer) MbitPerSecond() float64 { return perSecond(float64(t.Bytes)*8/1e6, t.Seconds) }

// Pktgen is what became of the packet generator's frames.
type Pktgen struct {
	Sent    int64   `json:"sent"`
	Passed  uint64  `json:"passed"` // what the NIC's port sent meanwhile
	Dropped uint64  `json:"dropped"`
	Seconds float64 `json:"seconds"`
}

// Restart is one death of the app VM under load and its return.
type Restart struct {
	BytesBefore int64   `json:"bytes_before_kill"` // of the download that was running
	Seconds     float64 `json:"seconds"`           // from the kill to the last ping
	RTT         string  `json:"rtt_ms"`
}

// Step returns the named step, or nil if it was not reached.
func (r *Report) Step(name string) *Step {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	return nil
}

func perSecond(amount, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return amount / seconds
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
