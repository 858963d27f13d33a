// Package keeper gets devices back that a machine took away from a running vvufwd, gives functions back that were
// bound to vfio-pci for it, and stops devices that no IOMMU confines should it be killed.
//
// A device is taken away when it is unplugged, or when someone unbinds or removes it in
// sysfs. It may come back. By then vvufwd has given up its privileges (package confine) and
// cannot open it any more. So it starts itself a second time before that, as its keeper,
// which can do just these things, and says when it is ready:
//
//	vvufwd                            keeper, another process
//	  Await(function)  ── a byte ──>    waits until the function has left vfio-pci, and is back
//	                                    binds it to vfio-pci, if vvufwd does that with --bind
//	                                    opens its group, which joins vvufwd's container, and the device
//	  *vfio.Files   <── descriptors ──
//
// If vvufwd cannot use what it has got, it closes that and asks once more (Again): a function
// that is still there after some seconds is opened again.
//
// Of devices that no IOMMU confines it has the files open too, and their memory: should vvufwd
// be killed it stops them before the memory goes back to the kernel, see vfio.Held. While
// vvufwd waits for such a device to return, it is closed here as well.
//
// At the end the keeper gives functions that were bound to vfio-pci back to their drivers (GiveBack), as
// vvufwd cannot write to sysfs by then; it says on the line how that went. It does so when all lines have ended, as
// functions may be of one IOMMU group, and leaves those alone that someone else has unbound or bound since. With
// --no-confine vvufwd gives back what it has bound, and the keeper what it has bound itself. Between the last look of a
// vvufwd that is about to execute itself and the moment in which its next program catches signals
// one of these ends it. So functions are given back too if vvufwd ends without having said that it has taken
// over (TakeOver). Of one that is killed later they stay bound, for the next; and so they do if the keeper is
// killed, which vvufwd tells at its end.
//
// Which functions these are is fixed when the keeper starts: whoever takes vvufwd over gets
// no device by way of it that vvufwd did not have. The keeper is confined too: it reads sysfs, opens
// files of /dev/vfio, writes to those parts of sysfs in which its functions are bound if that is asked for,
// and looks at nothing of a request but which of the four it is. It ends after vvufwd, which waits
// for that if it ends in an orderly way.
package keeper
