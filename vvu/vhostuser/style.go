package vhostuser

// Style is the way of one front-end program: which protocol features it wants
// and the order of its messages. The zero Style is not usable; see Styles.
type Style struct {
	Name string

	wants       ProtocolFeatures
	confirmsFDs bool // waits for the acknowledgement of kick, call and err messages

	confirmsEnable bool // waits for the acknowledgement of SET_VRING_ENABLE, so that what comes after finds the ring enabled

	addressesFirst bool // ends dirty logging of rings before that of all else

	connect   func(*Frontend)
	reconnect func(*Frontend)
	start     func(*Frontend)
	stop      func(*Frontend)
}

// The front-ends whose orders are known (contract 4.3 to 4.7).
var (
	// QEMU is QEMU 10 and 11, as recorded in testdata.
	QEMU = Style{Name: "qemu", wants: qemuWants, confirmsFDs: true, connect: qemuConnect, reconnect: qemuConnect,
		start: qemuStart, stop: qemuStop}
	// QEMUOld is QEMU up to 5.2, the 2019 fork included.
	QEMUOld = Style{Name: "qemu-old", wants: qemuOldWants, connect: qemuOldConnect, reconnect: qemuOldConnect,
		start: qemuOldStart, stop: stopInOrder}
	// VirtioUser is DPDK's virtio-user PMD. Reconnect plays its server mode.
	VirtioUser = Style{Name: "virtio-user", wants: virtioUserWants, connect: virtioUserConnect,
		reconnect: virtioUserReconnect, start: virtioUserStart, stop: virtioUserStop}
	// CloudHypervisor is cloud-hypervisor.
	CloudHypervisor = Style{Name: "cloud-hypervisor", wants: cloudHypervisorWants, connect: cloudHypervisorConnect,
		reconnect: cloudHypervisorReconnect, start: cloudHypervisorStart, stop: disableAndStop, addressesFirst: true}
	// Crosvm is crosvm as of 2023.
	Crosvm = Style{Name: "crosvm", wants: crosvmWants, connect: crosvmConnect, reconnect: crosvmConnect,
		start: crosvmStart, stop: disableAndStop}
)

// Styles returns all known front-ends.
func Styles() []Style { return []Style{QEMU, QEMUOld, VirtioUser, CloudHypervisor, Crosvm, Vvudev} }

// stopInOrder asks each ring for its position and nothing else.
func stopInOrder(f *Frontend) {
	for i := range f.cfg.Rings {
		f.getBase(i)
	}
}

// disableAndStop disables and stops ring by ring.
func disableAndStop(f *Frontend) {
	for i := range f.cfg.Rings {
		f.enable(i, false)
		f.getBase(i)
	}
}
