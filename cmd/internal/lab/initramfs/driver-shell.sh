#!/bin/busybox sh
# /init of a driver VM in which vvufwd is an ordinary command, /vvufwd, for tests. It carries out what it reads from its
# console, a line at a time, and says "@@ ready" when it begins.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null # the kernel may have done it
modprobe vfio_iommu_type1
modprobe vfio-pci
echo "@@ ready"
while read -r line; do
	eval "$line"
done
poweroff -f
