// Package uapi holds the part of the kernel's <linux/vfio.h> and <linux/iommufd.h> that a
// user of PCI devices needs, behind an IOMMU or without one: request numbers, structures
// and one Go function for each request.
//
// Structures keep the C layout (structs.HostLayout; sizes and offsets are
// tested). Flexible array members are left out and handled by the functions.
// Nothing here keeps state or owns a file descriptor.
package uapi
