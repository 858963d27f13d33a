package igb

import "vvufwd/netfwd/nic"

const name = "igb"

// Driver drives the chips of the package.
var Driver = nic.Driver{
	Name: name,
	Chips: []nic.Chip{
		{Vendor: 0x8086, Device: 0x10c9, Name: "82576", Seen: true},
		{Vendor: 0x8086, Device: 0x10e8, Name: "82576 quad"},
		{Vendor: 0x8086, Device: 0x1526, Name: "82576 ET2 quad"},
		{Vendor: 0x8086, Device: 0x150a, Name: "82576NS"},
		{Vendor: 0x8086, Device: 0x150e, Name: "82580"},
		{Vendor: 0x8086, Device: 0x1516, Name: "82580 dual"},
		{Vendor: 0x8086, Device: 0x1521, Name: "I350"},
		{Vendor: 0x8086, Device: 0x1533, Name: "I210"},
		{Vendor: 0x8086, Device: 0x157b, Name: "I210 without flash"},
		{Vendor: 0x8086, Device: 0x1539, Name: "I211"},
	},
	Open: open,
}

// model is what differs among the chips.
type model struct {
	pairs int
	// wide: an entry of IVAR has queue n and queue n+8 (82576 chapter 7); later chips have
	// queues 2n and 2n+1.
	wide bool
	// later: what is true of the 82580 and all that came after it.
	later bool
	// counting: the counters of drops go on when they have been read; others are zero then.
	counting bool
}

func modelOf(device uint16) model {
	switch device {
	case 0x10c9, 0x10e8, 0x1526, 0x150a:
		return model{pairs: 8, wide: true} // of 16
	case 0x150e, 0x1516, 0x1521:
		return model{pairs: 8, later: true}
	case 0x1539:
		return model{pairs: 2, later: true, counting: true}
	default: // I210, which has least of the others
		return model{pairs: 4, later: true, counting: true}
	}
}

// Registers of the chips (82576 8).
const (
	regBytes = 0x10000

	regPHPM     = 0x0e14 // power of the PHY, of later chips
	regICR      = 0x1500
	regIMS      = 0x1508
	regIMC      = 0x150c
	regGPIE     = 0x1514
	regEIMS     = 0x1524
	regEIMC     = 0x1528
	regEIAC     = 0x152c
	regEIAM     = 0x1530
	regEICR     = 0x1580
	regIVAR     = 0x1700
	regIVARMisc = 0x1740
	regRLPML    = 0x5004 // longest frame
	regSWSM     = 0x5b50
	regSWFWSync = 0x5b5c
	regRx       = 0xc000
	regTx       = 0xe000
	queueBytes  = 0x40

	// Of a queue, from its first.
	queueDropped = 0x30
)

const (
	gpieClear    = 1 << 0  // reading ICR clears it whatever is masked
	gpieMSIX     = 1 << 4  // a vector for each cause
	gpieAutoMask = 1 << 30 // by EIAM, when a message is sent
	gpiePBA      = 1 << 31

	ivarValid = 0x80

	phpmNoLink = 1 << 5 // go link disconnect: the PHY stays off

	srrctlDrop = 1 << 31 // frames for a queue without buffers, rather than wait

	rssOn = 2 // in MRQC

	// Whose the PHY is: SMBI is taken by reading it as zero, and SWESMBI by setting it
	// (82576 chapter 4). Then SW_FW_SYNC can be changed.
	swsmDriver   = 1 << 0
	swsmFirmware = 1 << 1
)
