package mmio

// beforeStore is DMB OSHST: earlier stores to memory become visible to devices
// before the register store that follows.
func beforeStore()

// afterLoad is DMB OSHLD: later loads from memory happen after the register load
// that came before.
func afterLoad()
