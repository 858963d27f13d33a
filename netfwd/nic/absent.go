package nic

import virtionet "vvufwd/virtio/net"

// absent is the queue pair of a slot without a card: nothing ever happens on it.
type absent struct{ counters *virtionet.Counters }

func newAbsent() absent { return absent{&virtionet.Counters{}} }

func (absent) Name() string                                 { return "" }
func (a absent) Counters() *virtionet.Counters              { return a.counters }
func (absent) Receive(*virtionet.Burst) (worked bool)       { return false }
func (absent) Release(*virtionet.Burst, int, int)           {}
func (absent) Notify()                                      {}
func (absent) Recover()                                     {}
func (absent) EnableKicks(forRoom bool) (frames, room bool) { return false, false }
func (absent) DisableKicks()                                {}
func (absent) WakeFDs() []int                               { return nil }
func (absent) InFlight() (int, uint64)                      { return 0, 0 }

// Transmit is not called: there is no link.
func (absent) Transmit(_ *virtionet.Burst, first, end int) (done int) { return end - first }
