package nic

import virtionet "vvufwd/virtio/net"

// absent is the queue pair of a slot without a card: nothing ever happens on it.
type absent struct{ counters *virtionet.Counters }

func newAbsent() absent { return absent{&virtionet.Counters{}} }

func (absent) Name() string           { return "" }
func (absent) State() virtionet.State { return virtionet.StateActive }

func (absent) RxBurst([]virtionet.Frame) int                { return 0 }
func (absent) Release(int)                                  {}
func (absent) Abandon()                                     {}
func (absent) TxBurst(frames []virtionet.Frame) int         { return len(frames) } // not called: there is no link
func (absent) Notify()                                      {}
func (absent) Changed() bool                                { return false }
func (absent) Sync() bool                                   { return false }
func (absent) Owns(uintptr) bool                            { return false }
func (absent) Fail(error)                                   {}
func (absent) Recover()                                     {}
func (absent) Leave()                                       {}
func (absent) EnableKicks(forRoom bool) (frames, room bool) { return false, false }
func (absent) DisableKicks()                                {}
func (absent) Polled() bool                                 { return false }
func (a absent) Counters() *virtionet.Counters              { return a.counters }
func (absent) WakeFDs() []int                               { return nil }
func (absent) InFlight() (int, uint64)                      { return 0, 0 }
