package vhostuser

// Vvudev is vvudev's own front-end, of a shadow region (package shadow): what is simplest. It
// sends no message that a device would have to know beyond those that all know. What lies in a ring before
// the driver VM has enabled it is discarded there (vhost-user, "Ring states"): so it has that confirmed.
var Vvudev = Style{Name: "vvudev", wants: ProtoMQ | ProtoReplyAck | ProtoMTU, connect: vvudevConnect, reconnect: vvudevConnect,
	start: vvudevStart, stop: stopInOrder, confirmsEnable: true}

func vvudevConnect(f *Frontend) {
	f.getFeatures()
	f.protocolFeatures()
	f.getQueueNum()
	f.tell(SetOwner, nil)
}

// vvudevStart enables rings last, when all else is there.
func vvudevStart(f *Frontend) {
	f.setMTU()
	f.setFeatures()
	f.setMemTable()
	for i := range f.cfg.Rings {
		f.num(i)
		f.setBase(i)
		f.addr(i)
		f.call(i)
		f.kick(i)
	}
	for i := range 2 * f.active() {
		f.enable(i, true)
	}
}
