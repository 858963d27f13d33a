package igbvf

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/netfwd/nic/intel"
)

// Registers of the mailbox (82576 chapters 7 and 8): a word for control, and the memory that
// both sides write messages to, in turns.
const (
	regMailbox       = 0x0c40
	regMailboxMemory = 0x0800

	mailboxWords = 16
)

// Bits of the mailbox register. Those that the other side has set are gone once they were read.
const (
	mbRequest  = 1 << 0 // there is a message for the other side
	mbAck      = 1 << 1 // its message was taken
	mbOurs     = 1 << 2 // the memory is ours
	mbTheirs   = 1 << 3
	mbFromPF   = 1 << 4 // there is a message for us
	mbTaken    = 1 << 5 // our message was taken
	mbResets   = 1 << 6 // the physical function is being reset
	mbWasReset = 1 << 7

	mbFleeting = mbFromPF | mbTaken | mbWasReset
)

// Messages: the low half of the first word says which, the high half has arguments and what
// became of it.
const (
	msgReset     = 0x01
	msgMAC       = 0x02
	msgMulticast = 0x03
	msgVLAN      = 0x04
	msgLongest   = 0x05
	msgPromisc   = 0x06
	msgControl   = 0x0100 // from the physical function: something has changed

	msgAck     = 1 << 31
	msgNack    = 1 << 30
	msgClear   = 1 << 29 // to send
	msgArgs    = 16
	msgMasks   = msgAck | msgNack | msgClear
	promiscAll = 1 << 1 // all groups
)

// errRefused says that the physical function's driver has said no.
var errRefused = errors.New("the driver of the physical function refuses it")

// errReset says that the physical function was reset, and with it what the virtual one had.
var errReset = errors.New("the physical function was reset")

// mailbox is the way to the driver of the physical function. It belongs to control.
type mailbox struct {
	regs *intel.Registers
	kept uint32 // of mbFleeting, what was read and not used yet
	// limit is how long an answer may take. It is the kernel that gives it, in an interrupt.
	limit time.Duration
}

// look reads the register. What goes by being read is kept.
func (m *mailbox) look() uint32 {
	v := m.regs.Load(regMailbox)
	m.kept |= v & mbFleeting
	return v | m.kept
}

// take reports whether one of the fleeting bits was there, and forgets it.
func (m *mailbox) take(bit uint32) bool {
	there := m.look()&bit != 0
	m.kept &^= bit
	return there
}

// await waits for one of the fleeting bits.
func (m *mailbox) await(bit uint32, what string) error {
	for deadline := time.Now().Add(m.limit); !m.take(bit); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the driver of the physical function does not %s within %v: is its interface up?", what, m.limit)
		}
	}
	return nil
}

// claim makes the memory ours, for as long as it takes to read or write it.
func (m *mailbox) claim() error {
	for deadline := time.Now().Add(m.limit); ; time.Sleep(200 * time.Microsecond) {
		m.regs.Store(regMailbox, mbOurs)
		if m.look()&mbOurs != 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the physical function does not let go of the mailbox")
		}
	}
}

// send sends a message, and waits until it was taken.
func (m *mailbox) send(words ...uint32) error {
	if err := m.claim(); err != nil {
		return err
	}
	m.look()
	m.kept &^= mbFromPF | mbTaken // what was there before is no answer to this
	for i, w := range words {
		m.regs.Store(regMailboxMemory+4*uint64(i), w)
	}
	m.regs.Store(regMailbox, mbRequest)
	return m.await(mbTaken, "take a message")
}

// receive reads the next message, which must come soon.
func (m *mailbox) receive() (msg [mailboxWords]uint32, err error) {
	if err = m.await(mbFromPF, "answer"); err != nil {
		return msg, err
	}
	return m.read()
}

// read reads the message that is there.
func (m *mailbox) read() (msg [mailboxWords]uint32, err error) {
	if err = m.claim(); err != nil {
		return msg, err
	}
	for i := range msg {
		msg[i] = m.regs.Load(regMailboxMemory + 4*uint64(i))
	}
	m.regs.Store(regMailbox, mbAck)
	return msg, nil
}

// ask sends a message and returns the answer to it. Messages that come between are no answers.
func (m *mailbox) ask(words ...uint32) (answer [mailboxWords]uint32, err error) {
	if err = m.send(words...); err != nil {
		return answer, err
	}
	kind := words[0] & 0xffff
	for range 4 {
		if answer, err = m.receive(); err != nil {
			return answer, err
		}
		if answer[0]&0xffff == kind && answer[0]&(msgAck|msgNack) != 0 {
			break
		}
	}
	if answer[0]&msgAck == 0 || answer[0]&0xffff != kind {
		return answer, errRefused
	}
	return answer, nil
}
