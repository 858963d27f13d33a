// Package virtiopci is the driver's side of the virtio PCI transport (virtio 1.3,
// section 4.1), in its modern form only: it finds the register structures by their
// capabilities, negotiates features and sets queues up. It drives any virtio device
// through a small interface that *vfio.Device satisfies, the virtio-vhost-user
// device with its three extra structures included.
//
// The order of a driver (3.1.1):
//
//	t, err := virtiopci.Open(device, virtio.DeviceNet)
//	err = t.Reset()
//	features, err := t.Negotiate(wanted)
//	notifier, err := t.SetupQueue(0, virtiopci.QueueConfig{...})
//	err = t.SetConfigVector(0)
//	t.DriverOK()
//	notifier.Notify()
package virtiopci
