// Package virtionet is the network device of virtio (1.3, 5.1), from both ends:
// Guest serves the rings of another VM's virtio-net driver, NIC drives a
// virtio-net device. Both speak of Frames in bursts, so that a forwarder can join
// any two of them, and both carry the virtio-net header along with the frame.
//
// A frame is copied once: from the buffer in which it arrived to the buffer in
// which it leaves. RxBurst hands out views, TxBurst copies them, Release gives
// the views back.
package virtionet
