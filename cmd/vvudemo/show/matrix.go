package show

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/vlanpeer"
)

// matrixTAP is the TAP device of a wide driver VM.
const matrixTAP = "vvumatrix0"

// RunMatrix shows combinations one after the other: the app VM starts with its device set up so, is tested, and is killed. One driver
// VM serves all that ask for the same one, so that each app VM but the first finds a vvufwd that has served others.
//
// cfg says what to test with; how the machines are set up is up to the combinations. The tools must include what the matrix needs,
// and the network namespace must be one in which TAP devices may be made. A combination that fails does not keep the others from
// being shown. The report is never nil.
func RunMatrix(ctx context.Context, cfg Config, combinations []matrix.Combination) (*MatrixReport, error) {
	report := &MatrixReport{
		DriverQEMU: describe(cfg.Tools.QEMU), AppQEMU: describe(cfg.Tools.AppQEMU), TransferBytes: cfg.transferBytes(),
		Kernels: []string{cfg.Tools.Modules.Release},
	}
	if cfg.Tools.NewerModules != nil {
		report.Kernels = append(report.Kernels, cfg.Tools.NewerModules.Release)
	}
	if cfg.Tools.NewestModules != nil {
		report.Kernels = append(report.Kernels, cfg.Tools.NewestModules.Release)
	}
	combinations = slices.Clone(combinations)
	if cfg.Shadow {
		combinations = shadowed(combinations)
	}
	combinations = slices.DeleteFunc(combinations, func(c matrix.Combination) bool {
		return c.Newer && cfg.Tools.NewerModules == nil || c.Newest && cfg.Tools.NewestModules == nil
	})
	if len(combinations) == 0 {
		return report, errors.New("all these combinations take a second kernel, which is fetched unless --kernel names the first one")
	}
	begin := time.Now()
	var errs []error
	for _, rows := range byDriver(combinations) {
		errs = append(errs, runRows(ctx, cfg, rows, report, begin))
	}
	err := errors.Join(errs...)
	report.OK = err == nil
	report.Seconds = seconds(time.Since(begin))
	return report, err
}

// shadowed are combinations with a shadow region, each once.
func shadowed(combinations []matrix.Combination) (all []matrix.Combination) {
	for _, c := range combinations {
		if c.Shadow = true; !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// byDriver parts combinations by the driver VM, with its vvudev, that they ask for.
func byDriver(combinations []matrix.Combination) (all [][]matrix.Combination) {
	for i := range 4 {
		var rows []matrix.Combination
		for _, c := range combinations {
			if c.Wide == (i&2 != 0) && c.Shadow == (i&1 != 0) {
				rows = append(rows, c)
			}
		}
		if len(rows) > 0 {
			all = append(all, rows)
		}
	}
	return all
}

// runRows shows the combinations of one driver VM.
func runRows(ctx context.Context, cfg Config, rows []matrix.Combination, report *MatrixReport, begin time.Time) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	cfg.Device, cfg.Direct, cfg.AppVMs, cfg.Keep = 0, false, 1, nil
	cfg.TAP, cfg.NICOpts, cfg.NICQueues, cfg.MTU = "", "", 0, 0
	side := "narrow"
	if rows[0].Wide {
		cfg.TAP, cfg.NICQueues, cfg.MTU = matrixTAP, matrix.ManyQueues, matrix.JumboMTU
		cfg.NICOpts = fmt.Sprintf("packed=on,host_mtu=%d", matrix.JumboMTU)
		side = "wide"
	}
	if cfg.Shadow = rows[0].Shadow; cfg.Shadow {
		if rows[0].Wide {
			cfg.VvudevArgs = []string{"--packed"} // as the NIC's
		}
		side += "-shadow"
	}
	cfg.OutDir = filepath.Join(cfg.OutDir, side)
	d := newDemo(cfg, fail, begin)
	err := d.prepare()
	if err == nil && rows[0].Wide {
		var server *vlanpeer.Server
		if server, err = vlanpeer.Listen(matrixTAP, vlanPeer); err == nil {
			defer server.Close() // after a failure here the pings tell
		}
	}
	if err == nil {
		err = d.do(ctx, []step{{"images", d.matrixImages}, {"vvudev", d.startDevices}, {"driver VM", d.startDriver}})
	}
	if err == nil {
		err = d.rows(ctx, rows, report)
	}
	return errors.Join(err, d.close())
}

// vlanPeer is who answers in a VLAN behind a wide driver VM's NIC.
var vlanPeer = vlanpeer.Peer{VLAN: vlanID, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 1, vlanID}, IP: net.ParseIP(vlanNetwork + ".100")}

// newerImage and newestImage are the RAM disks with the modules of those kernels.
func (d *demo) newerImage() string  { return d.out("app-newer.cpio.gz") }
func (d *demo) newestImage() string { return d.out("app-newest.cpio.gz") }

// matrixImages writes the RAM disks of the driver VM and of the app VM for each kernel.
func (d *demo) matrixImages(context.Context) (string, error) {
	app := initramfs.App{Busybox: d.Tools.Busybox, Modules: d.Tools.Modules, MoreModules: vlanModules, Files: d.Tools.Ethtool}
	appSize, err := app.Save(d.appImage())
	if err != nil {
		return "", err
	}
	if app.Modules = d.Tools.NewerModules; app.Modules != nil {
		if _, err := app.Save(d.newerImage()); err != nil {
			return "", err
		}
	}
	if app.Modules = d.Tools.NewestModules; app.Modules != nil {
		if _, err := app.Save(d.newestImage()); err != nil {
			return "", err
		}
	}
	driverSize, err := d.saveDriver(initramfs.Driver{Init: d.Tools.Vvufwd, Modules: d.Tools.Modules}, d.Tools.Kernel)
	return fmt.Sprintf("driver VM %s, app VM %s", size(driverSize), size(appSize)), err
}

// rows shows combinations with the driver VM that runs, and powers it off.
func (d *demo) rows(ctx context.Context, rows []matrix.Combination, report *MatrixReport) error {
	var errs []error
	for _, c := range rows {
		row := MatrixRow{Combination: c, Name: c.String(), Kernel: d.Tools.Modules.Release}
		if c.Newer {
			row.Kernel = d.Tools.NewerModules.Release
		}
		if c.Newest {
			row.Kernel = d.Tools.NewestModules.Release
		}
		begin, before := time.Now(), d.counters.Last().Ports
		err := d.row(ctx, &row)
		row.countPlain(before, d.counters.Last().Ports)
		if killed := d.endRow(ctx); err == nil {
			err = killed
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		row.OK, row.Seconds = err == nil, seconds(time.Since(begin))
		if err != nil {
			row.Error = err.Error()
			errs = append(errs, fmt.Errorf("%w: %v, kernel %s: %w", ErrFailed, c, row.Kernel, err))
			d.progress.say("matrix", "FAILED: %v, kernel %s: %v", c, row.Kernel, err)
		} else {
			d.progress.say("matrix", "%v, kernel %s: in %.1f s; %.0f Mbit/s to the app VM, %.0f from it", c, row.Kernel, row.Seconds,
				row.Download.MbitPerSecond(), row.Upload.MbitPerSecond())
		}
		report.Rows = append(report.Rows, row)
		if ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
	close(d.ending)
	if err := d.endDriver(ctx); err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, d.endDevices(ctx))...)
}

// countPlain says how much of what passed between two samples was plain. There may be nothing in the first.
func (r *MatrixRow) countPlain(before, after []counters.Port) {
	var sides [2]counters.Port
	for i, side := range []func([]counters.Port) (counters.Port, error){vvuPort, nicPort} {
		then, _ := side(before) // zero if vvufwd had counted nothing yet
		now, err := side(after)
		if err != nil {
			return
		}
		sides[i] = now.Since(then)
	}
	app, nic := sides[0], sides[1]
	app.RxPackets -= min(nic.Offloads.Segmented, app.RxPackets-app.Plain)
	nic.RxPackets -= min(app.Offloads.Segmented, nic.RxPackets-nic.Plain)
	r.PlainFrom, r.PlainTo = app.PlainPercent(), nic.PlainPercent()
}

// endRow kills the app VM and waits until vvufwd has noticed, if it ever connected.
func (d *demo) endRow(ctx context.Context) error {
	a := d.apps[0]
	if a.process == nil || ctx.Err() != nil {
		return nil
	}
	select {
	case <-a.process.Done(): // its end has been told already
		return nil
	default:
		return d.kill(ctx, a)
	}
}

// row shows one combination.
func (d *demo) row(ctx context.Context, row *MatrixRow) error {
	c, a := row.Combination, d.apps[0]
	a.setup = appSetup{kernel: d.Tools.Kernel, initrd: d.appImage(), smp: c.Queues(), queues: c.Queues(), netOpts: c.DeviceOptions()}
	if c.Newer {
		a.setup.kernel, a.setup.initrd = d.Tools.NewerKernel, d.newerImage()
	}
	if c.Newest {
		a.setup.kernel, a.setup.initrd = d.Tools.NewestKernel, d.newestImage()
	}
	if _, err := d.boot(ctx, a); err != nil {
		return err
	}
	for _, do := range []func(context.Context, *MatrixRow) error{d.rowFeatures, d.rowPings, d.rowShadow, d.rowVLAN, d.rowTransfers, d.rowQueues, d.rowChannels} {
		if err := do(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// rowFeatures compares what the guest has agreed to with what the combination says.
func (d *demo) rowFeatures(ctx context.Context, row *MatrixRow) error {
	a := d.apps[0]
	features, err := a.Features(ctx, commandLimit)
	if err != nil {
		return err
	}
	row.Features = features.String()
	offloads, err := a.Offloads(ctx, commandLimit)
	if err != nil {
		return err
	}
	channels, err := a.Channels(ctx, commandLimit)
	if err != nil {
		return err
	}
	if pairs := int64(row.Queues()); channels != (guest.Setting{Current: pairs, Max: pairs}) {
		err = fmt.Errorf("the guest uses %d queue pairs of %d, want %d", channels.Current, channels.Max, pairs)
	}
	device, failed := a.Device(ctx, commandLimit)
	if failed != nil {
		return failed
	}
	if device.MTU != row.mtu() {
		err = errors.Join(err, fmt.Errorf("the guest's MTU is %d, want %d", device.MTU, row.mtu()))
	}
	return errors.Join(row.CheckFeatures(features), row.CheckOffloads(offloads), err)
}

// Echo requests of a row.
const (
	rowPings    = 5
	spreadPings = 5  // from each processor
	livePings   = 20 // while queues change
	ipAndICMP   = 28 // bytes of headers
)

// rowPings gets a lease and sends the smallest and the largest packets.
func (d *demo) rowPings(ctx context.Context, row *MatrixRow) error {
	a := d.apps[0]
	var err error
	if a.lease, err = a.Lease(ctx, commandLimit); err != nil {
		return err
	}
	for _, bytes := range []int{0, row.mtu() - ipAndICMP} {
		pings, err := a.PingSize(ctx, commandLimit, d.network.host, rowPings, bytes)
		if err != nil {
			return err
		}
		if pings.Sent != rowPings || pings.Received != rowPings {
			return fmt.Errorf("of %d echo requests of %d bytes %d were sent and %d answered", rowPings, bytes, pings.Sent, pings.Received)
		}
	}
	return nil
}

// rowShadow looks at who has mapped what.
func (d *demo) rowShadow(ctx context.Context, row *MatrixRow) error {
	if !row.Shadow {
		return nil
	}
	_, err := d.shadow(ctx)
	return err
}

// rowVLAN sends packets with a VLAN tag, the largest ones too, to who answers behind a TAP device.
func (d *demo) rowVLAN(ctx context.Context, row *MatrixRow) error {
	if !row.Wide {
		return nil
	}
	if err := d.apps[0].VLAN(ctx, commandLimit, vlanID, vlanNetwork+".1/24"); err != nil {
		return err
	}
	for _, bytes := range []int{0, row.mtu() - ipAndICMP} {
		pings, err := d.apps[0].PingSize(ctx, commandLimit, vlanPeer.IP.String(), rowPings, bytes)
		if err != nil {
			return err
		}
		if pings.Sent != rowPings || pings.Received != rowPings {
			return fmt.Errorf("in a VLAN, of %d echo requests of %d bytes %d were sent and %d answered", rowPings, bytes, pings.Sent, pings.Received)
		}
	}
	return nil
}

// resizedRing is how many entries the receive rings are to get; QEMU's have 256.
const resizedRing = 128

// rowTransfers moves a file each way. While the first one fills the guest's receive rings, the guest is asked for smaller ones. QEMU
// could not tell its back-end of that, so that the guest must refuse, and the download go on.
func (d *demo) rowTransfers(ctx context.Context, row *MatrixRow) error {
	a := d.apps[0]
	if err := a.BeginFetch(ctx, commandLimit, d.web.base+"/blob"); err != nil {
		return err
	}
	var err error
	if ring, refused := a.SetRing(ctx, commandLimit, resizedRing); refused == nil {
		err = fmt.Errorf("the guest's receive rings have got %d entries of %d", ring.Current, ring.Max)
	} else if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	got, failed := a.EndFetch(ctx, d.transferLimit())
	if failed != nil {
		return errors.Join(err, failed)
	}
	row.Download = &Transfer{Bytes: got.Bytes, SHA256: got.SHA256, Seconds: seconds(got.Took)}
	if _, failed = row.Download.compare(d.transferBytes(), d.web.sum(), "the app VM downloaded"); failed != nil || err != nil {
		return errors.Join(err, failed)
	}
	row.Upload, _, err = d.uploadFrom(ctx, a)
	return err
}

// pause lets pings go on for some time.
func (d *demo) pause(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(t):
		return nil
	}
}
