package vm

// staleBreakpoint is what a kernel says that has run a breakpoint which is not there any more. Linux replaces instructions of its
// own with the help of one, and QEMU's emulator, with a thread for each processor, discards what it has translated of a page before the
// page is written to: a thread that translates in between has the breakpoint for good. It takes one boot of some two thousand, on a
// machine with much else to do, and says nothing of what runs in the machine.
const staleBreakpoint = "Oops: int3"

// startAnew starts a child again that has ended for such a breakpoint, and waits for its end. There is no third start.
func (p *Process) startAnew() {
	p.add(p.cfg.Name + ": QEMU has run an instruction that the kernel had replaced: the machine is started anew")
	p.mu.Lock()
	if p.ending {
		p.mu.Unlock()
		return
	}
	wait, err := p.start()
	p.mu.Unlock()
	if err == nil {
		err = wait()
	}
	p.exitErr = err
}
